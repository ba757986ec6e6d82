"""Results as one page of HTML that needs nothing else: tables, findings, and charts drawn by the reader's browser."""
