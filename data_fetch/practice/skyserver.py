"""A SkyServer in memory: the CAS tables in SQLite, asked in SQL Server's dialect, answered as SkyServer answers."""

import csv
import io
import sqlite3
import threading

import sqlglot
from sqlglot import exp

MAX_ROWS = 500_000  # where SkyServer cuts an answer without saying so
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_KEYS = {"Field": ["fieldID"], "PhotoObj": ["objID", "fieldID"], "SpecObj": ["specObjID", "bestObjID"]}


class SqlError(Exception):
    """The query cannot be understood or may not be run; the message says what SkyServer would."""


class SkyServer:
    """Answers SELECT statements over a dict of astropy Tables.

    Examples
    --------
    >>> from astropy.table import Table
    >>> server = SkyServer({"Field": Table({"fieldID": [7, 8], "run": [94, 94]})})
    >>> print(server.answer("SELECT TOP 1 f.run AS r FROM dbo.Field AS f WHERE f.fieldID & 1 = 0"), end="")
    #Table1
    r
    94
    """

    def __init__(self, tables):
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        for name, table in tables.items():
            self._load(name, table)
        # from here on the database can only be read
        self._database.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
        )

    def _load(self, name, table):
        kinds = {"i": "INTEGER", "u": "INTEGER", "f": "REAL", "b": "INTEGER"}
        columns = [f'"{column}" {kinds.get(table[column].dtype.kind, "TEXT")}' for column in table.colnames]
        cursor = self._database.cursor()
        cursor.execute(f'CREATE TABLE "{name}" ({", ".join(columns)})')
        marks = ", ".join("?" * len(columns))
        rows = zip(*(table[column].tolist() for column in table.colnames), strict=True)
        cursor.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)
        for key in _KEYS.get(name, []):
            if key in table.colnames:
                cursor.execute(f'CREATE INDEX "{name}_{key}" ON "{name}" ("{key}")')
        self._database.commit()

    def answer(self, sql: str) -> str:
        """The CSV text that SkyServer sends for a query.

        Raises
        ------
        SqlError
            If the query is not one SELECT statement over the tables there are.
        """
        statement = _translate(sql)
        with self._lock:
            try:
                cursor = self._database.execute(statement)
                names = [column[0] for column in cursor.description]
                rows = cursor.fetchmany(MAX_ROWS)
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise SqlError(str(error)) from error
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        text.write("#Table1\n")
        writer.writerow(names)
        writer.writerows([["null" if value is None else value for value in row] for row in rows])
        return text.getvalue()


def _translate(sql):
    """One T-SQL SELECT as SQLite's; result columns are called what the query calls them, or Column1, Column2, ..."""
    try:
        statements = sqlglot.parse(sql, read="tsql")
    except sqlglot.errors.SqlglotError as error:
        raise SqlError(f"Incorrect syntax: {error}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise SqlError("Only one SELECT statement a query is allowed.")
    statement = statements[0]
    for table in statement.find_all(exp.Table):
        table.set("db", None)
        table.set("catalog", None)
    for number, column in enumerate(statement.selects, start=1):
        if isinstance(column, exp.Column) and not column.is_star:
            column.replace(exp.alias_(column.copy(), column.name, quoted=True))
        elif not isinstance(column, (exp.Alias, exp.Star, exp.Column)):
            column.replace(exp.alias_(column.copy(), f"Column{number}", quoted=True))
    return statement.sql(dialect="sqlite")
