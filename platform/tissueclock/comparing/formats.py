"""How the report and its figures write numbers: so many decimals, with the interval, a dash for nothing."""

from typing import Any

from markupsafe import Markup

from tissueclock.comparing.statistics import AucDifference, AucEstimate, Estimate, Interval, Rate

NOTHING = "\N{EN DASH}"
N_SHORT = 12
"""Characters of a digest that are shown; the whole is in its tooltip."""


def format_value(value: Any, *, digits: int = 4) -> str:
    """A hyperparameter, floats to so many significant digits."""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def format_number(value: float | None, *, nothing: str = NOTHING) -> str:
    """Three decimals, or a dash."""
    return nothing if value is None else f"{value:.3f}"


def format_signed(value: float, *, digits: int = 3) -> str:
    """A difference with its sign.

    >>> format_signed(-0.25, digits=2)
    '−0.25'
    """  # noqa: RUF002
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def format_interval(interval: Interval) -> str:
    """Two decimals: more would be noise."""
    return f"[{interval.low:.2f}, {interval.high:.2f}]".replace("-", "\N{MINUS SIGN}")


def format_auc(auc: AucEstimate | None) -> str:
    """The AUC with its interval, or a dash."""
    return NOTHING if auc is None else f"{auc.auc:.3f} {format_interval(auc.interval)}"


def format_estimate(estimate: Estimate | None) -> str:
    """A figure with its interval, or a dash."""
    if estimate is None:
        return NOTHING
    return f"{estimate.value:.2f} {format_interval(estimate.interval)}".replace("-", "\N{MINUS SIGN}")


def format_rate(rate: Rate | None) -> str:
    """A rate with its interval, or a dash."""
    return NOTHING if rate is None else f"{rate.value:.2f} {format_interval(rate.interval)}"


def format_difference(difference: AucDifference) -> str:
    """The difference with its sign and interval."""
    return f"{format_signed(difference.difference)} {format_interval(difference.interval)}"


def format_p(p: float | None) -> str:
    """A p value as it is printed: three decimals, or that it is smaller, or a dash.

    >>> format_p(0.0421), format_p(1e-5)
    ('0.042', '< 0.001')
    """
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_equals(p: float | None) -> str:
    """A p value after the letter p.

    >>> format_equals(0.0421), format_equals(1e-5)
    ('= 0.042', '< 0.001')
    """
    text = format_p(p)
    return text if p is None or text.startswith("<") else f"= {text}"


def format_digest(digest: str) -> Markup:
    """A digest shortened, the whole of it in the tooltip.

    >>> format_digest("0123456789abcdef")
    Markup('<code title="0123456789abcdef">0123456789ab</code>')
    """
    return Markup('<code title="{}">{}</code>').format(digest, digest[:N_SHORT])
