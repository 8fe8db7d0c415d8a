"""What is written: text, Markdown, LaTeX, CSV, JSON, HTML and figures."""
