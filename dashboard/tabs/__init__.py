"""One file a tab, each with `build(page) -> TabParts | None`."""
