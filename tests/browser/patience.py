"""Waiting for the page's own clock."""


def wait_for_ticks(page, count: int = 2) -> None:
    """Until the page has asked the server so often what there is to show, and has been told: about a second each."""
    for _ in range(count):
        with page.expect_event("requestfinished", lambda request: "/gradio_api/queue/data" in request.url):
            pass
