"""What any study needs to be looked at: chart style, notebook output, colophon, report. Knows no paper and no runs."""
