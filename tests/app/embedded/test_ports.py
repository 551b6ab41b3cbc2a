from app.embedded.service import _inference_port
from app.settings import Settings


def test_the_replica_takes_any_port_unless_one_is_asked_for() -> None:
    """Even where it is the default: Prometheus is told it beforehand."""
    assert _inference_port(Settings()) == 0
    assert _inference_port(Settings(inference_port=8081)) == 8081
