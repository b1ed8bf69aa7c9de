// SPDX-License-Identifier: Apache-2.0
// JSON.stringify() of the documents of ours in $FWDSCOPE_BENCH_DOCUMENTS: node stringify.js --list |
// OPERATION. The objects are there already; the value is ns per document.
"use strict";
const fs = require("fs");

const DOCUMENTS = ["metrics", "spans", "logs"];
const ROUND_NS = 100e6;

function timed(document, calls) {
    let bytes = 0;
    const begin = process.hrtime.bigint();
    for (let i = 0; i < calls; i++)
        bytes += JSON.stringify(document).length;
    const ns = Number(process.hrtime.bigint() - begin);
    if (bytes === 0)
        throw new Error("nothing was written");
    return ns;
}

const operation = process.argv[2];
if (operation === "--list") {
    console.log(DOCUMENTS.join("\n"));
} else {
    const directory = process.env.FWDSCOPE_BENCH_DOCUMENTS;
    const document = JSON.parse(fs.readFileSync(`${directory}/${operation}.json`, "utf8"));
    let calls = 1, ns;
    while ((ns = timed(document, calls)) < ROUND_NS)
        calls *= 2;
    console.log(ns / calls);
}
