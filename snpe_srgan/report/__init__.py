"""What a run shows to people: tables, side-by-side pictures, the HTML report."""
