// SPDX-License-Identifier: Apache-2.0
// RapidJSON: the documents of ours in $FWDSCOPE_BENCH_DOCUMENTS as trees of values. "build" makes
// the tree anew, text by text, as from a forwarder's figures, and writes it; "write" writes a tree
// that is there already. The value is ns per document.
#include "peer.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <fstream>
#include <sstream>
#include <string>

namespace
{

rapidjson::Document document;

template <const char *name> void document_read()
{
    const char *directory = getenv("FWDSCOPE_BENCH_DOCUMENTS");
    if (directory == nullptr)
        peer_failed("FWDSCOPE_BENCH_DOCUMENTS is not set");
    std::ifstream file(std::string(directory) + "/" + name + ".json");
    std::ostringstream text;
    text << file.rdbuf();
    if (!file || document.Parse(text.str().c_str()).HasParseError())
        peer_failed("a document cannot be read");
}

void write(uint64_t calls)
{
    static rapidjson::StringBuffer out;
    for (uint64_t i = 0; i < calls; i++) {
        out.Clear();
        rapidjson::Writer<rapidjson::StringBuffer> writer(out);
        document.Accept(writer);
        keep(&out);
    }
}

void build(uint64_t calls)
{
    static rapidjson::StringBuffer out;
    for (uint64_t i = 0; i < calls; i++) {
        out.Clear();
        rapidjson::Document copy;
        copy.CopyFrom(document, copy.GetAllocator());
        rapidjson::Writer<rapidjson::StringBuffer> writer(out);
        copy.Accept(writer);
        keep(&out);
    }
}

const char metrics[] = "metrics", spans[] = "spans", logs[] = "logs";
const struct peer_operation operations[] = {
    {"metrics_build", build, 1, nullptr, document_read<metrics>},
    {"metrics_write", write, 1, nullptr, document_read<metrics>},
    {"spans_build", build, 1, nullptr, document_read<spans>},
    {"spans_write", write, 1, nullptr, document_read<spans>},
    {"logs_build", build, 1, nullptr, document_read<logs>},
    {"logs_write", write, 1, nullptr, document_read<logs>},
};

} // namespace

int main(int argc, char **argv)
{
    return peer_main(operations, sizeof operations / sizeof *operations, argc, argv);
}
