"""Links in prose: the first use of each term in a chapter to the glossary, and "notebook 03" to that chapter."""

import re
from functools import partial

GLOSSARY = re.compile(r"^(`{3,})\{glossary\}\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
# Where a term is not prose; tried before the terms at every place of a text.
NOT_PROSE = [
    r"^ {0,3}(?P<fence>`{3,}|~{3,}|:{3,})[\s\S]*?(?:^ {0,3}(?P=fence)|\Z)",  # fenced code and directives
    r"^(?: {4}|\t).*$",  # indented code
    r"^#{1,6} .*$",  # headings
    r"(?:\{[\w:-]+\})?(?P<ticks>`+)[\s\S]+?(?P=ticks)",  # code, and roles such as {cite}`...`
    r"\$\$[\s\S]+?\$\$|\$[^$\n]+\$",  # mathematics
    r"!?\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])?",  # links and images
    r"<a\b[\s\S]*?</a>|<[^<>\n]+>|\bhttps?://\S+",  # HTML and bare addresses
]
NUMBER = r"\d\d\b(?![.,]\d)"
CHAPTERS = re.compile(
    "|".join([*NOT_PROSE, rf"(?P<several>\b[Nn]otebooks?\s{NUMBER}(?:(?:,|\sand|\sto)\s{NUMBER})*)"]), re.MULTILINE
)


def link_chapters(text, names, folder=""):
    """Return Markdown in which each "notebook 03", or "notebooks 01 to 03", is a link.

    Parameters
    ----------
    text : str
    names : iterable of str
        The chapters that there are; the first two characters of each are its number. Others stay words.
    folder : str, default=""
        Where they are, as seen from the page.
    """
    files = {name[:2]: f"{folder}{name}.ipynb" for name in names}

    def with_links(match):
        said = match["several"]
        if said is None:
            return match[0]
        parts = re.findall(r"\d\d|\D+", said)
        if len(parts) == 2 and parts[1] in files:  # one notebook: the word belongs to the link
            return f"[{' '.join(said.split())}]({files[parts[1]]})"
        return "".join(f"[{part}]({files[part]})" if part in files else part for part in parts)

    return CHAPTERS.sub(with_links, text)


def glossary_terms(page):
    """Return the terms that the glossary on a page of Markdown defines."""
    return [line.strip() for line in GLOSSARY.search(page)[2].splitlines() if re.match(r"\S", line)]


def link_terms(notebook, terms):
    """Turn the first use of each term in the prose of a notebook into a link to the glossary, in place."""
    terms = sorted(terms, key=len, reverse=True)  # a linear probe is not a probe
    uses = "|".join(f"(?P<term{number}>\\b{written(term)}\\b)" for number, term in enumerate(terms))
    pattern = re.compile("|".join([*NOT_PROSE, uses]), re.MULTILINE)
    link = partial(linked, terms=terms, seen=set())
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = pattern.sub(link, cell.source)


def written(term):
    """Return a regular expression for a term and its plural, with a capital at a sentence's start."""
    plural = re.escape(term[:-1]) + "(?:y|ies)" if term.endswith("y") else re.escape(term) + "(?:s|es)?"
    plural = plural.replace("\\ ", "\\s")  # a line may end within a term
    return f"(?i:{plural[0]}){plural[1:]}" if term.islower() else plural


def linked(match, terms, seen):
    """Return what stands for a match: itself, or a link where it is the first use of a term."""
    number = next((n for n in range(len(terms)) if match[f"term{n}"]), None)
    if number is None or number in seen:
        return match[0]
    seen.add(number)
    text = " ".join(match[0].split())
    return f"{{term}}`{text}`" if text == terms[number] else f"{{term}}`{text} <{terms[number]}>`"
