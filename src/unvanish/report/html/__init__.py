"""Reports as one HTML file each, that opens offline, asks nobody for anything, and prints."""

from unvanish.report.html.notebook import diagnosis_cell
from unvanish.report.html.page import diagnosis_page
from unvanish.report.html.recording import recording_page
from unvanish.report.html.treatment import treatment_cell, treatment_page

__all__ = ["diagnosis_cell", "diagnosis_page", "recording_page", "treatment_cell", "treatment_page"]
