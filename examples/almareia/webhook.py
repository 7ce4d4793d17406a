"""Tells another system of each new order, where ALMAREIA_WEBHOOK names one: the kitchen's screen, a chat.

An order counts whether or not anybody hears of it: what goes wrong here is a warning in the log, and no more.
"""

import logging
import os

CONNECT_S, ANSWER_S = 1, 3

log = logging.getLogger("almareia.webhook")


class Webhook:
    """Posts JSON to the address `url`."""

    def __init__(self, url):
        # Imported here so that an application that tells nobody does not wait for it.
        import requests

        self.url = url
        self.requests = requests

    def tell(self, order):
        try:
            self.requests.post(self.url, json=order, timeout=(CONNECT_S, ANSWER_S)).raise_for_status()
        except self.requests.RequestException as error:
            # Not the address: it may hold a key.
            log.warning("o pedido %s não foi avisado: %s", order["id"], type(error).__name__)


def from_environment():
    """The webhook that ALMAREIA_WEBHOOK names; None where it names none."""
    url = os.environ.get("ALMAREIA_WEBHOOK")
    return Webhook(url) if url else None
