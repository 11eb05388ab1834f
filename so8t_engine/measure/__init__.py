"""Pure numbers: metrics and statistics. No torch here."""
