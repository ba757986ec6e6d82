"""OTLP/gRPC over real channels: codes, trailers, compression, health, shutdown."""

import gzip
import threading
import time

import grpc
import pytest
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from collector.spool import SpoolFull
from tests.unit.receivers_support import SERVICE, TRACES, Receivers, config, nested_value, request

BODY = request(spans=3).SerializeToString()
STATUS, RETRY = "grpc-status-details-bin", "google.rpc.retryinfo-bin"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Receivers(config(tmp_path_factory.mktemp("data"))) as receivers:
        yield receivers


@pytest.fixture
def receivers(shared):
    shared.spool.records.clear()
    shared.spool.failure = None
    shared.telemetry.counts.clear()
    return shared


@pytest.fixture
def channel(receivers):
    with receivers.channel() as channel:
        yield channel


def refused(channel, body, **options):
    """The error that a call ends with, and its trailers."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(TRACES)(body, timeout=30, **options)
    return caught.value, dict(caught.value.trailing_metadata())


@pytest.mark.parametrize(
    ("package", "service", "signal"),
    [("trace", "Trace", "traces"), ("logs", "Logs", "logs"), ("metrics", "Metrics", "metrics")],
)
def test_every_signal_has_its_service(receivers, channel, package, service, signal):
    """An empty request succeeds with an empty response and spools nothing."""
    method = "/" + SERVICE.format(package, service) + "/Export"
    assert channel.unary_unary(method)(b"", timeout=10) == b""
    assert receivers.spool.records == []


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_request_is_spooled_as_it_was_meant(receivers, channel, compression):
    """Compressed or not, the spool has the plain protobuf."""
    assert channel.unary_unary(TRACES)(BODY, timeout=10, compression=compression) == b""
    (record,) = receivers.spool.records
    assert (record.signal, record.encoding, record.body) == ("traces", "protobuf", BODY)
    assert receivers.telemetry.counts["received", "traces", "grpc"] == 3


def test_no_protobuf_message_looks_like_gzip():
    """What tells compressed messages apart: the first byte of gzip is a tag that no parser takes."""
    with pytest.raises(DecodeError):
        ExportTraceServiceResponse.FromString(gzip.compress(BODY))


def test_the_message_limit_is_64_mib(receivers, channel):
    """RESOURCE_EXHAUSTED without RetryInfo: it would be too large again. Also where only the content is."""
    for body, compression in [(bytes((64 << 20) + 1), None), (bytes(65 << 20), grpc.Compression.Gzip)]:
        error, trailers = refused(channel, body, compression=compression)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert RETRY not in trailers
    assert receivers.spool.records == []


def test_garbage_is_an_invalid_argument(receivers, channel):
    """Never UNKNOWN or INTERNAL; the Status says what is wrong."""
    error, trailers = refused(channel, b"\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_pb2.Status.FromString(trailers[STATUS])
    assert (status.code, status.message) == (3, error.details())
    assert status.details[0].Is(error_details_pb2.BadRequest.DESCRIPTOR)


def test_truncated_gzip_is_an_invalid_argument(receivers, channel):
    """A message that begins like gzip and is none."""
    error, _ = refused(channel, gzip.compress(BODY)[:-4])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_values_nested_too_deep_are_an_invalid_argument(receivers, channel):
    """40 levels, where 32 are allowed."""
    message = request()
    nested_value(message.resource_spans[0].resource.attributes.add(key="n").value, 40)
    error, _ = refused(channel, message.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "32 deep" in error.details()


def test_overload_carries_the_delay_where_each_client_looks(receivers, channel):
    """UNAVAILABLE with RetryInfo in the Status and in the trailer that the Python exporter reads."""
    receivers.spool.failure = SpoolFull(2.5)
    error, trailers = refused(channel, BODY)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    delay = error_details_pb2.RetryInfo.FromString(trailers[RETRY]).retry_delay
    assert (delay.seconds, delay.nanos) == (2, 500_000_000)
    packed = error_details_pb2.RetryInfo()
    assert status_pb2.Status.FromString(trailers[STATUS]).details[0].Unpack(packed)
    assert packed.retry_delay == delay


def test_invalid_spans_are_rejected_alone(receivers, channel):
    """OK with partial_success; the request is spooled."""
    message = request(spans=3)
    message.resource_spans[0].scope_spans[0].spans[0].span_id = b"short"
    answer = channel.unary_unary(TRACES)(message.SerializeToString(), timeout=10)
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert partial.rejected_spans == 1
    assert "span_id" in partial.error_message
    assert len(receivers.spool.records) == 1


def test_our_own_fault_is_unavailable(receivers, channel, caplog):
    """So that the sender keeps its data."""
    receivers.spool.failure = RuntimeError("a bug")
    error, trailers = refused(channel, BODY)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert RETRY in trailers
    assert caplog.records[-1].message == "a request could not be handled"


def test_other_methods_are_unimplemented(receivers, channel):
    """Profiles, for example."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export")(
            b""
        )
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_health_service_serves(receivers, channel):
    """For the server as a whole and for each service, as load balancers ask."""
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE.format("trace", "Trace")):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_64_streams_on_4_connections(receivers):
    """All are acknowledged, and each is in the spool once."""
    bodies = [request(spans=index + 1).SerializeToString() for index in range(64)]
    channels = [receivers.channel() for _ in range(4)]
    try:
        calls = [channel.unary_unary(TRACES).future(body) for channel in channels for body in bodies]
        assert all(call.result(30) == b"" for call in calls)
    finally:
        for channel in channels:
            channel.close()
    assert sorted(record.body for record in receivers.spool.records) == sorted(bodies * 4)


def test_stop_finishes_the_call_at_hand(tmp_path):
    """A call that waits for the spool is acknowledged within the grace."""
    with Receivers(config(tmp_path)) as receivers, receivers.channel() as channel:
        receivers.spool.gate.clear()
        call = channel.unary_unary(TRACES).future(BODY)
        while not receivers.intake.budget.used:
            time.sleep(0.01)
        threading.Timer(0.3, receivers.spool.gate.set).start()
        receivers.run(receivers.grpc.stop(5))
        assert call.result(10) == b""
        assert len(receivers.spool.records) == 1


def test_the_python_exporter_waits_as_told(receivers):
    """Refused once with a delay of half a second, the real exporter sends again after it."""
    receivers.spool.failure = SpoolFull(0.5)
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{receivers.grpc.port}", insecure=True)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    threading.Timer(0.3, lambda: setattr(receivers.spool, "failure", None)).start()
    start = time.monotonic()
    with provider.get_tracer("test").start_as_current_span("chat"):
        pass
    waited = time.monotonic() - start
    provider.shutdown()
    assert receivers.telemetry.counts["refused", "traces", "grpc", "spool"] == 1
    assert receivers.telemetry.counts["received", "traces", "grpc"] == 1
    assert waited > 0.4
