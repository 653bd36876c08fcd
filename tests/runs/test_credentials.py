"""Who is let into a cluster of jobs, and who can read what lets them in."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from distributed import Client

from repro.runs import Machine
from repro.runs.batch import CERTIFICATE, KEY, Batch, credentials, security
from repro.runs.temporary import ALIVE
from repro.runs.workers import Local, connect


@pytest.fixture
def a_free_hand() -> Iterator[None]:
    """New files are everybody's unless they are made otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def fail_with(folder: Path) -> None:
    with credentials(folder):
        raise RuntimeError("halt")


def test_credentials_are_for_their_user_alone_and_go_with_the_cluster(tmp_path: Path, a_free_hand: None) -> None:
    with credentials(tmp_path) as tls:
        assert tls.parent == tmp_path
        assert rights(tls) == 0o700
        assert {path.name: rights(path) for path in tls.iterdir()} == dict.fromkeys((KEY, CERTIFICATE, ALIVE), 0o600)
    assert list(tmp_path.iterdir()) == []


def test_credentials_go_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="halt"):
        fail_with(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_other_user_is_let_into_a_cluster_on_this_machine() -> None:
    with connect(Local(workers=1), Machine(), print) as client, pytest.raises(OSError, match=r"reset by peer|closed"):
        Client(client.scheduler.address.replace("tls://", "tcp://"), timeout=1)


def test_nobody_without_the_credentials_of_the_cluster_is_let_in(tmp_path: Path) -> None:
    batch = Batch(system="slurm", workers=1, logs=tmp_path, interface="lo")
    with (
        credentials(tmp_path) as tls,
        credentials(tmp_path) as others,
        closing(batch.open({}, {}, tls)) as cluster,
    ):
        address = cluster.scheduler_address
        with pytest.raises(OSError, match=r"reset by peer|closed"):
            Client(address.replace("tls://", "tcp://"), timeout=1)
        with pytest.raises(OSError, match="certificate does not match"):
            Client(address, security=security(others), timeout=1)
        with Client(cluster) as client:
            assert client.scheduler_info()["workers"] == {}
