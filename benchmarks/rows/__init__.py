"""What is measured, as data: a module for each page of results, with its rows, title and notes."""
