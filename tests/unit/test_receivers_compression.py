"""Content codings: inflating within bounds, by itself and over real sockets, and answers in gzip."""

import bz2
import gzip
import itertools
import json
import lzma
import os
import random
import sys
import threading
import tracemalloc
import zlib

import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collector.receivers import compression
from collector.receivers.compression import PIECE_BYTES, accepts_gzip, check_supported, inflate
from collector.receivers.status import Malformed, UnsupportedEncoding
from tests.unit.http_support import BODY, connected, send
from tests.unit.receivers_support import JSON, PROTOBUF, Receivers, config, json_request, json_span, request
from tests.unit.work_support import calls_counted

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def raw_deflate(data, level=9):
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


# What senders call each, and how they make it.
ENCODERS = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZip", lambda data: gzip.compress(data, 1)),
    ("deflate", zlib.compress),
    ("deflate", lambda data: zlib.compress(data, 0)),
    ("Deflate", raw_deflate),
    ("deflate", lambda data: raw_deflate(data, 0)),
    ("zstd", zstd.compress),
    ("ZSTD", lambda data: zstd.compress(data, 19)),
]
NAMES = [f"{name}-{number}" for number, (name, _) in enumerate(ENCODERS)]
each_encoder = pytest.mark.parametrize(("name", "encode"), ENCODERS, ids=NAMES)
each_coding = pytest.mark.parametrize(
    ("name", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress)]
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Receivers(config(tmp_path_factory.mktemp("data"))) as receivers:
        yield receivers


@pytest.fixture
def receivers(shared):
    shared.spool.records.clear()
    return shared


def content(name, body):
    return b"".join(inflate(check_supported(name), body))


# Inflating.


@each_encoder
@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, PIECE_BYTES, 3 * PIECE_BYTES + 1])
def test_what_was_encoded_comes_back(name, encode, size):
    """Whole, in pieces that are bounded and never empty, for text that compresses well and noise that does not."""
    noise = random.Random(size).randbytes(size)
    for data in (noise, b"spans " * (size // 6)):
        pieces = list(inflate(check_supported(name), encode(data)))
        assert b"".join(pieces) == data
        assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


@pytest.mark.parametrize("more", range(0, 300, 13))
def test_output_that_is_held_back_comes_out(more):
    """zlib can have taken all of a body and still hold the end of it, 258 bytes at most."""
    data = bytes(PIECE_BYTES + more)
    assert content("deflate", raw_deflate(data)) == data


@pytest.mark.parametrize(("name", "encode"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_members_follow_each_other(name, encode):
    """As in concatenated files; empty ones among them; zstd's skippable frames are no content."""
    parts = [b"one", b"", os.urandom(100_000), b"two"]
    assert content(name, b"".join(map(encode, parts))) == b"".join(parts)
    if name == "zstd":
        skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"skip!"
        assert content(name, encode(b"one") + skippable + encode(b"two")) == b"onetwo"


def test_block_gzip_of_the_largest_request():
    """Its members hold 65,280 bytes each, so that 64 MiB has the most that any sender makes."""
    block = gzip.compress(bytes(65_280), 1)
    members = (64 << 20) // 65_280 + 1
    assert sum(map(len, inflate("gzip", block * members + gzip.compress(b"")))) == members * 65_280


@each_encoder
def test_every_cut_is_noticed(name, encode):
    """A body that is cut short anywhere is malformed, never less content."""
    whole = encode(BODY)
    for end in range(len(whole)):
        with pytest.raises(Malformed, match=r"cut short|not valid"):
            content(name, whole[:end])


@each_coding
@pytest.mark.parametrize("behind", [b"\x00", b"trailing", bytes(1000)])
def test_what_follows_the_end_is_noticed(name, encode, behind):
    with pytest.raises(Malformed, match=name):
        content(name, encode(BODY) + behind)


@each_coding
def test_a_second_body_is_no_trailer_of_deflate(name, encode):
    """gzip and zstd have members; a deflate body is one stream."""
    if name == "deflate":
        with pytest.raises(Malformed, match="goes on after its end"):
            content(name, encode(BODY) + encode(BODY))
    else:
        assert content(name, encode(BODY) * 2) == BODY * 2


@each_coding
def test_damage_is_malformed_or_noticed_later(name, encode):
    """Any byte changed, and noise: Malformed or other content, never another error."""
    whole = encode(BODY)
    generator = random.Random(name)
    damaged = [
        bytes([*whole[:at], whole[at] ^ 1 << bit, *whole[at + 1 :]])
        for at in range(len(whole))
        for bit in (0, 7)
    ]
    noise = [generator.randbytes(generator.randrange(200)) for _ in range(500)]
    for body in itertools.chain(damaged, noise, [BODY, b"", bz2.compress(BODY), lzma.compress(BODY)]):
        try:
            content(name, body)
        except Malformed as error:
            assert str(error).isprintable()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@each_encoder
def test_another_coding_is_not_taken_for_it(name, encode, coding):
    if check_supported(name) != coding:
        with pytest.raises(Malformed, match=coding):
            content(coding, encode(BODY))


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("gzip", lambda data: gzip.compress(data, 1)),
        ("deflate", lambda data: zlib.compress(data, 1)),
        ("zstd", lambda data: zstd.compress(data, options={zstd.CompressionParameter.window_log: 20})),
    ],
)
def test_a_bomb_costs_a_piece_at_a_time(name, encode):
    """Whoever stops after the first piece has paid for no more."""
    bomb = encode(bytes(128 << 20))
    tracemalloc.start()
    try:
        pieces = inflate(name, bomb)
        assert len(next(pieces)) <= PIECE_BYTES
        assert tracemalloc.get_traced_memory()[1] < 8 * PIECE_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "encode"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_members_are_bounded(name, encode):
    """However many there are, it costs no more to refuse them."""
    made = []
    for count in (10_000, 50_000):
        body = encode(b"") * count
        with calls_counted() as calls, pytest.raises(Malformed, match="members"):
            content(name, body)
        made.append(calls.made)
    assert made[1] <= made[0]


def test_zstd_windows_are_bounded():
    """8 MiB, which RFC 9659 lets a Content-Encoding ask for, is accepted; twice as much is not."""
    noise = os.urandom(1 << 20) * 20
    for window, accepted in ((23, True), (24, False)):
        options = {zstd.CompressionParameter.window_log: window}
        compressor = zstd.ZstdCompressor(options=options)
        body = (
            compressor.compress(noise[: 10 << 20])
            + compressor.compress(noise[10 << 20 :])
            + compressor.flush()
        )
        if accepted:
            assert content("zstd", body) == noise
        else:
            with pytest.raises(Malformed, match="memory"):
                content("zstd", body)


@pytest.mark.parametrize("name", ["", " ", "identity", "Identity"])
def test_no_coding(name):
    assert check_supported(name) == ""


@pytest.mark.parametrize(
    "name", ["br", "compress", "gzip, gzip", "gzip,identity", "snappy", "gzip;q=1", "\udcff"]
)
def test_unknown_codings_are_not_supported(name):
    """The error says which are, in its message and for the header."""
    with pytest.raises(UnsupportedEncoding, match="gzip, deflate, zstd") as error:
        check_supported(name)
    assert error.value.http_headers() == {"Accept-Encoding": "gzip, deflate, zstd"}


# Over HTTP.


@each_encoder
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_bodies_are_spooled_inflated(receivers, name, encode, headers):
    body = BODY if headers is PROTOBUF else json.dumps(json_request(json_span())).encode()
    assert send(receivers, encode(body), {**headers, "Content-Encoding": name})[0] == 200
    assert [record.body for record in receivers.spool.records] == [body]


@each_coding
def test_large_bodies_are_spooled_inflated(receivers, name, encode):
    """More than one piece, which another thread inflates and checks."""
    body = request(spans=6000, attributes=10).SerializeToString()
    assert len(body) > 2 << 20
    assert send(receivers, encode(body), {**PROTOBUF, "Content-Encoding": name})[0] == 200
    assert receivers.spool.records[0].body == body


@each_coding
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_damaged_bodies_are_400(receivers, name, encode, headers):
    """With BadRequest in the Status of the request's encoding; nothing is spooled."""
    whole = encode(BODY)
    for damaged in (whole[:-2], whole[: len(whole) // 2], whole + b"trailing", b"garbage", b"", BODY):
        status, answered, answer = send(receivers, damaged, {**headers, "Content-Encoding": name})
        assert (status, answered["Content-Type"]) == (400, headers["Content-Type"])
        if headers is PROTOBUF:
            refusal = status_pb2.Status.FromString(answer)
            assert name in refusal.message
            assert refusal.details[0].Is(error_details_pb2.BadRequest.DESCRIPTOR)
        else:
            assert name in json.loads(answer)["message"]
    assert receivers.spool.records == []


@each_coding
@pytest.mark.parametrize(("headers", "limit"), [(PROTOBUF, 64 << 20), (JSON, 16 << 20)])
def test_bombs_are_413(receivers, name, encode, headers, limit):
    """The limit of what is inflated is that of the encoding."""
    status, _, _ = send(receivers, encode(bytes(limit + 1)), {**headers, "Content-Encoding": name})
    assert status == 413


def test_an_unknown_coding_is_415(receivers):
    """With what is spoken in Accept-Encoding (RFC 9110, 15.5.16); several headers are one list."""
    for name in ("br", "gzip, gzip"):
        status, headers, answer = send(receivers, headers={**PROTOBUF, "Content-Encoding": name})
        assert (status, headers["Accept-Encoding"]) == (415, "gzip, deflate, zstd")
        assert name in status_pb2.Status.FromString(answer).message
    with connected(receivers) as connection:
        connection.putrequest("POST", "/v1/traces")
        fields = [
            *PROTOBUF.items(),
            ("Content-Encoding", "gzip"),
            ("Content-Encoding", "gzip"),
            ("Content-Length", "0"),
        ]
        for field in fields:
            connection.putheader(*field)
        connection.endheaders()
        assert connection.getresponse().status == 415


def test_many_members_do_not_hold_up_the_others(receivers):
    """While one client sends 50,000 empty members again and again, another's requests are answered."""
    stop = threading.Event()
    bomb = gzip.compress(b"") * 50_000

    def attack():
        while not stop.is_set():
            assert send(receivers, bomb, {**PROTOBUF, "Content-Encoding": "gzip"})[0] == 400

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        for _ in range(10):
            assert send(receivers)[0] == 200
    finally:
        stop.set()
        attacker.join(10)


# Answers.


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip; q=0.001", True),
        ("gzip;Q=1.000", True),
        ("*", True),
        ("br;q=1.0, *;q=0.1", True),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", True),
        ("gzip, identity", True),
        ("", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, deflate", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.2, identity;q=0.7", False),
        ("gzip;q=nonsense", False),
        ("gzip;level=9", False),
        ("gzipped", False),
        (",,;;==", False),
    ],
)
def test_who_wants_gzip(header, expected):
    """RFC 9110, 12.5.3: weights, the asterisk, and what the client would rather have."""
    assert accepts_gzip(header) is expected


def ungzip(headers, answer):
    assert headers["Content-Encoding"] == "gzip"
    assert int(headers["Content-Length"]) == len(answer)
    return gzip.decompress(answer)


@pytest.mark.parametrize(("headers", "body", "answer"), [(PROTOBUF, BODY, b""), (JSON, b"{}", b"{}")])
def test_successes_are_gzipped_for_who_wants_them_so(receivers, headers, body, answer):
    """The empty ones too; others get them as they are. Vary says that it depends."""
    status, answered, content = send(receivers, body, {**headers, "Accept-Encoding": "gzip"})
    assert (status, answered["Content-Type"], answered["Vary"]) == (
        200,
        headers["Content-Type"],
        "Accept-Encoding",
    )
    assert ungzip(answered, content) == answer
    for header in ("identity", "gzip;q=0", "br"):
        status, answered, content = send(receivers, body, {**headers, "Accept-Encoding": header})
        assert (status, answered["Content-Encoding"], content) == (200, None, answer)
        assert answered["Vary"] == "Accept-Encoding"


def test_partial_successes_and_refusals_are_gzipped_too(receivers):
    message = request(spans=2)
    message.resource_spans[0].scope_spans[0].spans[0].trace_id = b""
    wants = {**PROTOBUF, "Accept-Encoding": "gzip"}
    _, headers, answer = send(receivers, message.SerializeToString(), wants)
    assert ExportTraceServiceResponse.FromString(ungzip(headers, answer)).partial_success.rejected_spans == 1
    for arguments, expected in (
        ({"body": b"\xff"}, 400),
        ({"path": "/nothing"}, 404),
        ({"method": "GET", "body": None}, 405),
        ({"headers": {**wants, "Content-Encoding": "br"}}, 415),
    ):
        status, headers, answer = send(receivers, **{"headers": wants, **arguments})
        assert status == expected
        assert status_pb2.Status.FromString(ungzip(headers, answer)).message


@pytest.mark.parametrize("body", [b"", b"{}", b"text"])
def test_gzipped_answers_say_nothing_else(body):
    """No time and no name of a file (RFC 1952, 2.3): equal answers are equal bytes."""
    answer = compression.gzipped(body)
    assert (answer[3], answer[4:8]) == (0, bytes(4))
    assert gzip.decompress(answer) == body
