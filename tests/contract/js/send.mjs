// Sends what standard input describes through unmodified exporters, as an application would set them up:
//     node send.mjs http|proto|grpc < data.json
// Everything else (endpoint, headers, compression) comes from the OTEL_EXPORTER_OTLP_* variables. Prints one JSON
// object: the ids of the spans in their order, and the error with which their export failed in the end, or null.
import { SpanKind } from '@opentelemetry/api';
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as HttpLogs } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as HttpMetrics } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as HttpTraces } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { json } from 'node:stream/consumers';

const EXPORTERS = {
  http: { traces: HttpTraces, logs: HttpLogs, metrics: HttpMetrics },
  proto: { traces: ProtoTraces, logs: ProtoLogs, metrics: ProtoMetrics },
  grpc: { traces: GrpcTraces, logs: GrpcLogs, metrics: GrpcMetrics },
};
const SCOPE = ['tests.js', '1.2.3'];

const data = await json(process.stdin);
const exporters = EXPORTERS[process.argv[2]];
const resource = resourceFromAttributes(data.resource);

function sendSpans(spans) {
  const processor = new BatchSpanProcessor(new exporters.traces(), { maxExportBatchSize: 16 });
  const provider = new BasicTracerProvider({ resource, spanProcessors: [processor] });
  const tracer = provider.getTracer(...SCOPE);
  const ids = spans.map(({ name, start, end, attributes, events, status }) => {
    const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, startTime: start, attributes });
    for (const event of events) span.addEvent(event.name, event.attributes, event.time);
    span.setStatus(status);
    span.end(end);
    const { traceId, spanId } = span.spanContext();
    return [traceId, spanId];
  });
  return [ids, provider];
}

function sendLogs(records) {
  const processor = new BatchLogRecordProcessor({ exporter: new exporters.logs() });
  const provider = new LoggerProvider({ resource, processors: [processor] });
  const logger = provider.getLogger(...SCOPE);
  for (const record of records) logger.emit(record);
  return provider;
}

function sendMetrics(counters) {
  const reader = new PeriodicExportingMetricReader({ exporter: new exporters.metrics() });
  const provider = new MeterProvider({ resource, readers: [reader] });
  const meter = provider.getMeter(...SCOPE);
  for (const { name, value, attributes } of counters) meter.createCounter(name).add(value, attributes);
  return provider;
}

const [ids, traces] = sendSpans(data.spans);
const others = [sendLogs(data.logs), sendMetrics(data.metrics)];
let error = null;
await traces.forceFlush().catch((reason) => { error = String(reason); });
await Promise.all(others.map((provider) => provider.forceFlush()));
console.log(JSON.stringify({ ids, error }));
process.exit(0);
