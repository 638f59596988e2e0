// SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
// mailauth for tests: a line of JSON asks, a line of JSON answers. Messages and fields are in base64; the DNS is what "keys" said.
//   {"do": "keys", "records": {name: text}}
//   {"do": "verify", "message"}               -> {"dkim": [{"selector", "result"}], "arc": "pass"}
//   {"do": "sign", "message", "key", "domain", "selector", "algorithm", "canonical"} -> {"fields"}
//   {"do": "seal", "message", "key", "domain", "selector"}                           -> {"fields"}
'use strict';

const { authenticate, dkimSign } = require('mailauth');
const readline = require('node:readline');

let records = {};

async function resolver(name, type) {
    const text = type === 'TXT' && records[name.toLowerCase().replace(/\.$/, '')];
    if (!text) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
    return [[text]];
}

const usual = { resolver, ip: '10.25.1.9', helo: 'client.sender.test', sender: 'joe@sender.test', mta: 'mx.sealer.test', disableBimi: true };
const packed = text => Buffer.from(text, 'binary').toString('base64');

const acts = {
    async keys(asked) {
        records = asked.records;
        return {};
    },
    async verify(asked) {
        const found = await authenticate(Buffer.from(asked.message, 'base64'), usual);
        const dkim = found.dkim.results.filter(r => r.signingDomain).map(r => ({ selector: r.selector, result: r.status.result }));
        return { dkim, arc: found.arc ? found.arc.status.result : 'none' };
    },
    async sign(asked) {
        const { domain, selector, algorithm, canonical, key } = asked;
        const made = await dkimSign(Buffer.from(asked.message, 'base64'), {
            canonicalization: canonical, signTime: new Date(),
            signatureData: [{ signingDomain: domain, selector, privateKey: key, algorithm, canonicalization: canonical }]
        });
        if (made.errors.length) throw made.errors[0].err;
        return { fields: packed(made.signatures) };
    },
    async seal(asked) {
        const seal = { signingDomain: asked.domain, selector: asked.selector, privateKey: asked.key };
        const made = await authenticate(Buffer.from(asked.message, 'base64'), { ...usual, seal });
        return { fields: packed(made.headers) };
    }
};

let last = Promise.resolve();
readline.createInterface({ input: process.stdin }).on('line', line => {
    last = last.then(async () => {
        let answer;
        try {
            const asked = JSON.parse(line);
            answer = await acts[asked.do](asked);
        } catch (err) {
            answer = { error: String(err.stack || err) };
        }
        process.stdout.write(JSON.stringify(answer) + '\n');
    });
});
