"""What a build, its simulation and its synthesis amount to: JSON, HTML, terminal."""

from hwgen.report.data import make_report
from hwgen.report.html import render_html
from hwgen.report.terminal import print_report

__all__ = ["make_report", "print_report", "render_html"]
