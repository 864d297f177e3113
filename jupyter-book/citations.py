"""Cite the papers that a chapter links to.

In JupyterLab a citation is a link to the paper, which anybody can follow; in the book it leads to the bibliography.
"""

import re
from functools import partial

from pybtex.database import parse_file

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<address>https?://[^)\s]+)\)")


def cited_papers(path):
    """Return the papers of a BibTeX file by address: that of the DOI, of the preprint, or of the entry itself."""
    return {address(entry.fields): key for key, entry in parse_file(str(path)).entries.items()}


def address(fields):
    if "doi" in fields:
        return f"https://doi.org/{fields['doi']}"
    return f"https://arxiv.org/abs/{fields['eprint']}" if "eprint" in fields else fields["url"]


def cite_papers(notebook, papers):
    """Turn links to papers into citations, in place: ``[Young 1974](…)`` in brackets, ``[Young (1974)](…)`` in text."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(partial(citation, papers=papers), cell.source)


def citation(match, papers):
    key = papers.get(match["address"])
    if key is None:
        return match[0]
    role = "cite:t" if match["text"].endswith(")") else "cite:alp"
    return f"{{{role}}}`{key}`"
