"""Two models side by side, blind votes, and the endpoint's logic."""
