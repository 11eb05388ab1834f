"""A confusion matrix of a report: counts with their share of the row, the deeper red the more harmful."""

from collections.abc import Sequence

from so8t_engine.answer.format import CLASSES
from so8t_engine.evaluate.page_pieces import badge, percent, t
from so8t_engine.evaluate.severity import redness
from so8t_engine.measure.metrics import GIVEN


def matrix(mode: str, found: dict) -> str:
    """found: what the mode measured, with its "summary"."""
    counts: Sequence[Sequence[int]] = found["summary"]["confusion"]
    columns = range(len(GIVEN) if mode == "generated" else len(CLASSES))  # a likeliest class there always is
    top = "".join(f'<th scope="col">{badge(GIVEN[column])}</th>' for column in columns)
    rows = ""
    for expected, given in zip(CLASSES, counts, strict=True):
        cells = "".join(_cell(expected, GIVEN[column], given[column], sum(given)) for column in columns)
        rows += f'<tr><th scope="row">{badge(expected)}</th>{cells}</tr>'
    corner = f'<th class="corner">{t("confusion.expected")} ＼ {t("confusion.given")}</th>'
    return f'<div class="wide"><table class="matrix"><thead><tr>{corner}{top}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(expected: str, given: str, count: int, total: int) -> str:
    if not total:
        return "<td><b>0</b><small>—</small></td>"
    share = count / total
    red = f' style="--red:{100 * redness(expected, given, share):.0f}%"' if count and given != expected else ""
    kind = f' class="right {expected.lower()}" style="--share:{100 * share:.0f}%"' if given == expected else ""
    return f"<td{kind}{red}><b>{count:,}</b><small>{percent(share)}</small></td>"
