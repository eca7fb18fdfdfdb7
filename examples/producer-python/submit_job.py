"""Submits a training job to Trainyard by one Kafka record and follows it on jobs.events until it is finished.

The contract: docs/asyncapi.yaml. Variables: README.md.
Exit codes: 0 COMPLETED, 1 finished otherwise or an error, 2 rejected.
"""

import io
import json
import os
import struct
import sys
import urllib.request
import uuid
from datetime import datetime, timezone

import fastavro
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

REQUIRED = ("BROKERS", "SCHEMA_REGISTRY_URL", "API_KEY", "PROJECT", "DATASET")
missing = [name for name in REQUIRED if not os.environ.get(name)]
if missing:
    sys.exit(f"set {', '.join(missing)} (README.md)")
BROKERS, SCHEMA_REGISTRY_URL, API_KEY, PROJECT, DATASET = (os.environ[name] for name in REQUIRED)
PREFIX = os.environ.get("TOPIC_PREFIX", "")
REQUESTS = f"{PREFIX}jobs.requests"
EVENTS = f"{PREFIX}jobs.events"
TIMEOUT_S = 30

request_id = str(uuid.uuid4())
# The same key with the same content is the same job, however often it is asked for. Take one that your system can find again.
idempotency_key = os.environ.get("IDEMPOTENCY_KEY", f"example-{request_id}")

# For a cluster with TLS and a login add security.protocol, sasl.mechanism, sasl.username and sasl.password.
COMMON = {"bootstrap.servers": BROKERS}


def registry(path):
    with urllib.request.urlopen(f"{SCHEMA_REGISTRY_URL.rstrip('/')}/{path}", timeout=TIMEOUT_S) as response:
        return json.load(response)


def encode(message, payload):
    """Confluent's framing: a zero byte, the id of the schema (4 bytes, big endian), the Avro body."""
    latest = registry(f"subjects/{message}/versions/latest")
    out = io.BytesIO()
    out.write(struct.pack(">bI", 0, latest["id"]))
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(latest["schema"])), payload)
    return out.getvalue()


schemas = {}


def decode(value):
    """The body by the schema that it was written with, whose id is in the framing."""
    _, schema_id = struct.unpack(">bI", value[:5])
    if schema_id not in schemas:
        schemas[schema_id] = fastavro.parse_schema(json.loads(registry(f"schemas/ids/{schema_id}")["schema"]))
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), schemas[schema_id], None)


def ends_of(consumer, topic):
    """Every partition of the topic with the offset that its next record will have."""
    metadata = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    partitions = [TopicPartition(topic, number) for number in metadata.partitions]
    return [
        TopicPartition(topic, each.partition, consumer.get_watermark_offsets(each, timeout=TIMEOUT_S)[1])
        for each in partitions
    ]


def send_request():
    spec = {
        "dataset": {"name": DATASET},
        "base": {"config": {"layers": 1, "heads": 2, "embeddingSize": 32, "contextLength": 32}},
        "method": "full",
        "model": {"name": os.environ.get("MODEL", "from-another-system")},
        "preprocessing": {"vocabularySize": 300, "validationFraction": 0.2},
        "hyperparameters": {"maxSteps": 60, "batchSize": 4, "sequenceLength": 32, "learningRate": 0.01},
        "evaluation": {"suites": [{"suite": "held_out_text", "maxTokens": 512}]},
    }
    payload = {
        "project": PROJECT,
        "idempotencyKey": idempotency_key,
        "jobType": "fine_tune",
        "specJson": json.dumps(spec),
        "labels": {"source": "producer-python"},
    }
    headers = {
        "ce_specversion": "1.0",
        "ce_id": request_id,
        "ce_type": "JobRequested",
        "ce_source": "/examples/producer-python",
        "ce_subject": PROJECT,
        "ce_time": datetime.now(timezone.utc).isoformat(),
        "authorization": f"Bearer {API_KEY}",
    }
    failures = []
    producer = Producer({**COMMON, "enable.idempotence": True})
    producer.produce(
        REQUESTS,
        key=PROJECT,
        value=encode("trainyard.v1.JobRequested", payload),
        headers=list(headers.items()),
        on_delivery=lambda error, _: failures.append(error) if error is not None else None,
    )
    if producer.flush(TIMEOUT_S) > 0 or failures:
        raise KafkaException(failures[0]) if failures else TimeoutError("the brokers do not answer")
    print(f"sent         request {request_id}, idempotency key {idempotency_key}", flush=True)


def events(consumer):
    """Type and payload of what comes on jobs.events. At least once: a message may come twice, under the same ce_id."""
    seen = set()
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is not None:
            raise KafkaException(message.error())
        headers = {name: value.decode() for name, value in message.headers() or []}
        if headers["ce_id"] in seen:
            continue
        seen.add(headers["ce_id"])
        yield headers["ce_type"], decode(message.value())


def ours(stream):
    """The answer to our request and what is said about its job, also what was said before the answer."""
    early = {}
    job_id = None
    for kind, event in stream:
        if kind in ("JobAccepted", "JobRejected") and event["requestId"] == request_id:
            yield kind, event
            job_id = event.get("jobId")
            yield from early.get(job_id, [])
        elif job_id is None:
            early.setdefault(event.get("jobId"), []).append((kind, event))
        elif event.get("jobId") == job_id and kind != "JobAccepted":
            yield kind, event


def main():
    # Not a member of a group: it reads every partition by itself and stores no position.
    consumer = Consumer({**COMMON, "group.id": "unused", "enable.auto.commit": False})
    try:
        # 1. Where jobs.events ends now: the answer comes behind it.
        consumer.assign(ends_of(consumer, EVENTS))
        # 2. The request.
        send_request()
        # 3. What becomes of it.
        for kind, event in ours(events(consumer)):
            if kind == "JobRejected":
                print(f"rejected     {event['code']}: {event['message']}")
                for field in event["fields"]:
                    print(f"             {field['pointer']} {field['message']}")
                return 2
            if kind == "JobAccepted":
                print(f"accepted     {event['jobId']}", flush=True)
            elif kind == "JobStatusChanged":
                print(f"status       {event['status']} {event['step'] or ''}".rstrip(), flush=True)
            elif kind == "JobFinished":
                print(f"finished     {event['status']} {event['resultJson'] or event['errorJson'] or ''}".rstrip())
                return 0 if event["status"] == "COMPLETED" else 1
    finally:
        consumer.close()


sys.exit(main())
