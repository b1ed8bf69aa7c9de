// SPDX-License-Identifier: Apache-2.0
// libprotobuf, with the classes that protoc makes of the same .proto files: the documents of ours
// in $FWDSCOPE_BENCH_DOCUMENTS, read once, written again and again. The messages are there already:
// what is measured is the writing alone. The value is ns per document.
#include "peer.h"

#include <opentelemetry/proto/collector/logs/v1/logs_service.pb.h>
#include <opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h>
#include <opentelemetry/proto/collector/trace/v1/trace_service.pb.h>

#include <fstream>
#include <google/protobuf/util/json_util.h>
#include <sstream>
#include <string>

namespace
{

namespace collector = opentelemetry::proto::collector;
collector::metrics::v1::ExportMetricsServiceRequest metrics;
collector::trace::v1::ExportTraceServiceRequest spans;
collector::logs::v1::ExportLogsServiceRequest logs;

std::string document(const char *name)
{
    const char *directory = getenv("FWDSCOPE_BENCH_DOCUMENTS");
    if (directory == nullptr)
        peer_failed("FWDSCOPE_BENCH_DOCUMENTS is not set");
    std::ifstream file(std::string(directory) + "/" + name + ".json");
    std::ostringstream text;
    text << file.rdbuf();
    if (!file)
        peer_failed("a document cannot be read");
    return text.str();
}

void read_into(const char *name, google::protobuf::Message *message)
{
    const auto status = google::protobuf::util::JsonStringToMessage(document(name), message);
    if (!status.ok())
        peer_failed(status.ToString().c_str());
}

// OTLP writes ids as hexadecimal digits where protobuf's JSON reads base64: this takes back what
// the reader made of the digits.
std::string id_of(const std::string &decoded)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string hex, id;
    for (size_t i = 0; i + 2 < decoded.size(); i += 3) {
        const unsigned bits = (unsigned)(unsigned char)decoded[i] << 16 |
                              (unsigned)(unsigned char)decoded[i + 1] << 8 |
                              (unsigned)(unsigned char)decoded[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            hex += digits[bits >> shift & 63];
    }
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
        id += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    return id;
}

void metrics_read()
{
    read_into("metrics", &metrics);
}

void spans_read()
{
    read_into("spans", &spans);
    for (auto &resource : *spans.mutable_resource_spans())
        for (auto &scope : *resource.mutable_scope_spans())
            for (auto &span : *scope.mutable_spans()) {
                span.set_trace_id(id_of(span.trace_id()));
                span.set_span_id(id_of(span.span_id()));
                span.set_parent_span_id(id_of(span.parent_span_id()));
            }
}

void logs_read()
{
    read_into("logs", &logs);
}

template <typename Message, const Message &message> void json(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++) {
        std::string out;
        if (!google::protobuf::util::MessageToJsonString(message, &out).ok())
            peer_failed("a document cannot be written");
        keep(&out);
    }
}

template <typename Message, const Message &message> void binary(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++) {
        std::string out;
        if (!message.SerializeToString(&out))
            peer_failed("a document cannot be written");
        keep(&out);
    }
}

const struct peer_operation operations[] = {
    {"metrics_json", json<decltype(metrics), metrics>, 1, nullptr, metrics_read},
    {"metrics_binary", binary<decltype(metrics), metrics>, 1, nullptr, metrics_read},
    {"spans_json", json<decltype(spans), spans>, 1, nullptr, spans_read},
    {"spans_binary", binary<decltype(spans), spans>, 1, nullptr, spans_read},
    {"logs_json", json<decltype(logs), logs>, 1, nullptr, logs_read},
    {"logs_binary", binary<decltype(logs), logs>, 1, nullptr, logs_read},
};

} // namespace

int main(int argc, char **argv)
{
    return peer_main(operations, sizeof operations / sizeof *operations, argc, argv);
}
