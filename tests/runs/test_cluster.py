"""Who can reach the workers, and by which credentials a scheduler that is running is reached."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import dask
import psutil
import pytest
from distributed import LocalCluster

from repro.runs import Machine
from repro.runs.batch import CERTIFICATE, KEY, Unavailable, credentials, security
from repro.runs.workers import Local, Scheduler, connect


def test_nothing_of_a_local_cluster_listens_beyond_this_machine() -> None:
    with connect(Local(workers=1), Machine(), print) as client:
        client.wait_for_workers(1)
        this = psutil.Process()
        processes = [this, *this.children(recursive=True)]
        listening = {port.laddr for one in processes for port in one.net_connections() if port.status == "LISTEN"}
        addresses = [client.scheduler.address, client.dashboard_link]
        for worker, known in client.scheduler_info()["workers"].items():
            addresses += [worker, known["nanny"]]
    assert len(addresses) == 4
    assert {urlsplit(address).port for address in addresses} <= {port for _, port in listening}
    assert {host for host, _ in listening} == {"127.0.0.1"}


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Path]:
    with credentials(tmp_path) as folder:
        yield folder


@pytest.fixture
def scheduler(tls: Path) -> Iterator[Scheduler]:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tls://",
        security=security(tls),
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield Scheduler(address=cluster.scheduler_address)


def test_a_scheduler_over_tls_is_reached_with_the_credentials_of_dasks_configuration(
    scheduler: Scheduler, tls: Path
) -> None:
    assert scheduler.address.startswith("tls://")
    names = {"ca-file": CERTIFICATE, "client.cert": CERTIFICATE, "client.key": KEY}
    settings = {f"distributed.comm.tls.{name}": str(tls / file) for name, file in names.items()}
    with dask.config.set(settings), connect(scheduler, Machine(), print) as client:
        assert client.submit(pow, 2, 5).result() == 32


def test_workers_with_several_threads_are_refused() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        pytest.raises(Unavailable, match=r"^worker 0 has 2 threads; it must be --nthreads 1$"),
        connect(Scheduler(address=cluster.scheduler_address), Machine(), print),
    ):
        pytest.fail("a client")


def test_missing_credentials_for_a_scheduler_over_tls_are_reported(scheduler: Scheduler) -> None:
    with (
        pytest.raises(Unavailable, match=r"no scheduler answers at tls://.*check your TLS configuration"),
        connect(scheduler, Machine(), print),
    ):
        pytest.fail("a client")
