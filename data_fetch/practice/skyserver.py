"""A SkyServer in memory: the CAS tables in SQLite, asked in SQL Server's dialect, answered as SkyServer answers."""

import csv
import io
import sqlite3
import threading

import numpy as np
import sqlglot
from astropy.table import Table
from scipy.spatial import cKDTree
from sqlglot import exp

MAX_ROWS = 500_000  # where SkyServer cuts an answer without saying so
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_KEYS = {
    "Field": ["fieldID"],
    "PhotoObj": ["objID", "fieldID"],
    "SpecObj": ["specObjID", "bestObjID"],
    "zooSpec": ["specobjid", "objid"],
    "Photoz": ["objID"],
}
# Tables that are always there, if need be without rows.
_EMPTY = {
    "SpecObj": ["specObjID", "bestObjID", "class", "subClass", "z", "zErr", "zWarning"],
    "Photoz": ["objID", "z", "zErr"],
}


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
        empty = {name: Table(names=names) for name, names in _EMPTY.items()}
        for name, table in (empty | tables).items():
            self._load(name, table)
        if {"ra", "dec"} <= set(tables.get("PhotoObj", Table()).colnames):
            self._database.create_function("fGetNearestObjIdEq", 3, NearestPrimary(tables["PhotoObj"]))
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


class NearestPrimary:
    """SkyServer's function of this purpose: the objID of the primary nearest to ra, dec (deg) within some arcmin."""

    def __init__(self, photo):
        primary = photo[photo["mode"] == 1] if "mode" in photo.colnames else photo
        self._ids = np.asarray(primary["objID"])
        self._tree = cKDTree(_on_sphere(np.asarray(primary["ra"]), np.asarray(primary["dec"])))

    def __call__(self, ra, dec, radius):
        chord = 2 * np.sin(np.radians(radius / 60) / 2)
        distance, row = self._tree.query(_on_sphere(ra, dec), distance_upper_bound=chord)
        return int(self._ids[row]) if np.isfinite(distance) else None


def _on_sphere(ra, dec):
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


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
    for function in statement.find_all(exp.Dot):
        function.replace(function.expression)  # dbo.f() is f()
    for number, column in enumerate(statement.selects, start=1):
        if isinstance(column, exp.Column) and not column.is_star:
            column.replace(exp.alias_(column.copy(), column.name, quoted=True))
        elif not isinstance(column, (exp.Alias, exp.Star, exp.Column)):
            column.replace(exp.alias_(column.copy(), f"Column{number}", quoted=True))
    # SQLite has no names for the columns of VALUES but its own; whoever uses those is understood.
    return statement.sql(dialect="sqlite", unsupported_level=sqlglot.ErrorLevel.IGNORE)
