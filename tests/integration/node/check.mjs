// SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
// nodemailer sends, imapflow reads. Run as: node check.mjs NAME, the JSON line of `posthouse dev` on standard input.
// Exit code 0: the check named so holds.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { ImapFlow } from 'imapflow';
import nodemailer from 'nodemailer';

const server = JSON.parse(readFileSync(0, 'utf8'));
const ca = readFileSync(server.ca, 'utf8');
const account = name => server.accounts.find(a => a.address.startsWith(name + '@'));
const login = name => ({ user: account(name).address, pass: account(name).password });

function mailer(port, name) {
    return nodemailer.createTransport({
        host: 'localhost', port: server[port].port, secure: port === 'submissions', requireTLS: port === 'submission',
        auth: name ? login(name) : undefined, tls: { ca, servername: 'localhost' }, name: 'client.example.org',
    });
}

async function reader(name, port = 'imaps') {
    const client = new ImapFlow({
        host: 'localhost', port: server[port].port, secure: port === 'imaps', auth: login(name), logger: false,
        tls: { ca, servername: 'localhost' }, doSTARTTLS: port === 'imap' ? true : undefined,
    });
    await client.connect();
    return client;
}

// The callback's result, with a client that is always logged out.
async function reading(name, work, port) {
    const client = await reader(name, port);
    try {
        return await work(client);
    } finally {
        await client.logout();
    }
}

async function collect(iterable) {
    const out = [];
    for await (const item of iterable) out.push(item);
    return out;
}

async function bytes(stream) {
    return Buffer.concat(await collect(stream));
}

const picture = Buffer.from(Array.from({ length: 300000 }, (_, i) => (i * 7919) & 255));
const letter = (subject, text = 'text') =>
    Buffer.from(`From: vivita@example.com\r\nTo: karl@example.com\r\nSubject: ${subject}\r\n` +
        `Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <${subject}@example.com>\r\n\r\n${text}\r\n`);

async function sendAndRead(port) {
    const transport = mailer(port, 'xandros');
    await transport.verify();
    const subject = 'Grüße mit ☕ ' + port;
    const info = await transport.sendMail({
        from: { name: 'Xandros Ü.', address: 'xandros@example.com' }, to: ['vivita@example.com', 'karl@example.com'],
        cc: 'someone@elsewhere.example', subject, text: 'Schöne Grüße\n.\nPunkt', html: '<p>Schöne <b>Grüße</b></p>',
        attachments: [{ filename: 'Bild ä.bin', content: picture }, { filename: 'note.txt', content: 'a note' }],
    });
    transport.close();
    assert.deepEqual([info.accepted.length, info.rejected.length], [3, 0]);
    await reading('vivita', async client => {
        const box = await client.mailboxOpen('INBOX');
        const m = await client.fetchOne(box.exists, { envelope: true, bodyStructure: true, size: true, uid: true, source: true });
        assert.equal(m.envelope.subject, subject);
        assert.deepEqual(m.envelope.from, [{ name: 'Xandros Ü.', address: 'xandros@example.com' }]);
        assert.deepEqual(m.envelope.to.map(a => a.address), ['vivita@example.com', 'karl@example.com']);
        assert.equal(m.envelope.messageId, info.messageId);
        assert.equal(m.bodyStructure.type, 'multipart/mixed');
        assert.equal(m.bodyStructure.childNodes[0].type, 'multipart/alternative');
        const attached = m.bodyStructure.childNodes.filter(n => n.disposition === 'attachment');
        assert.deepEqual(attached.map(n => n.dispositionParameters.filename), ['Bild ä.bin', 'note.txt']);
        assert.equal(m.size, m.source.length);
        const text = await client.download(String(m.uid), m.bodyStructure.childNodes[0].childNodes[0].part, { uid: true });
        assert.equal((await bytes(text.content)).toString().replace(/\r\n/g, '\n').trimEnd(), 'Schöne Grüße\n.\nPunkt');
        const file = await client.download(String(m.uid), attached[0].part, { uid: true });
        assert.ok((await bytes(file.content)).equals(picture));
    });
}

const checks = {
    send_by_starttls: () => sendAndRead('submission'),
    send_by_tls: () => sendAndRead('submissions'),

    async send_without_login() {
        const transport = mailer('smtp');
        const info = await transport.sendMail({ from: 'a@example.org', to: 'karl@example.com', subject: 'plain', text: 'x' });
        assert.equal(info.accepted.length, 1);
        await assert.rejects(transport.sendMail({ from: 'a@example.org', to: 'nobody@example.com', text: 'x' }), { responseCode: 550 });
    },

    async send_many_on_a_pool() {
        const transport = nodemailer.createTransport({ pool: true, maxConnections: 5, host: 'localhost',
            port: server.submissions.port, secure: true, auth: login('xandros'), tls: { ca } });
        const count = () => reading('karl', async c => (await c.status('INBOX', { messages: true })).messages);
        const before = await count();
        await Promise.all(Array.from({ length: 100 }, (_, i) => transport.sendMail({
            from: 'xandros@example.com', to: 'karl@example.com', subject: 'pooled ' + i, text: 'x'.repeat(i * 100) })));
        transport.close();
        assert.equal(await count(), before + 100);
    },

    async wrong_password() {
        const transport = nodemailer.createTransport({ host: 'localhost', port: server.submissions.port, secure: true,
            auth: { user: 'karl@example.com', pass: 'wrong' }, tls: { ca } });
        await assert.rejects(transport.verify(), { code: 'EAUTH', responseCode: 535 });
        const client = new ImapFlow({ host: 'localhost', port: server.imaps.port, secure: true, logger: false, tls: { ca },
            auth: { user: 'karl@example.com', pass: 'wrong' } });
        await assert.rejects(client.connect(), e => e.authenticationFailed === true);
    },

    async unknown_certificate() {
        const client = new ImapFlow({ host: 'localhost', port: server.imaps.port, secure: true, logger: false, auth: login('karl') });
        await assert.rejects(client.connect(), /certificate/i);
    },

    async list() {
        await reading('vivita', async client => {
            const boxes = await client.list({ statusQuery: { messages: true, uidNext: true } });
            const use = Object.fromEntries(boxes.filter(b => b.specialUse).map(b => [b.specialUse, b.path]));
            assert.deepEqual(use, { '\\Inbox': 'INBOX', '\\Sent': 'Sent', '\\Drafts': 'Drafts', '\\Junk': 'Junk',
                '\\Trash': 'Trash', '\\Archive': 'Archive' });
            assert.ok(boxes.every(b => b.status.uidNext >= 1 && b.delimiter === '/'));
            const made = await client.mailboxCreate(['Projekte', 'Größe & Maß']);
            assert.equal(made.path, 'Projekte/Größe & Maß');
            assert.ok((await client.list()).some(b => b.path === made.path && b.name === 'Größe & Maß'));
            await client.mailboxRename(made.path, 'Projekte/日本');
            const tree = await client.listTree();
            assert.ok(tree.folders.find(f => f.name === 'Projekte').folders.some(f => f.name === '日本'));
            await client.mailboxDelete('Projekte/日本');
            assert.ok(!(await client.list()).some(b => b.path === 'Projekte/日本'));
        });
    },

    async starttls() {
        await reading('karl', async client => {
            assert.equal(client.secureConnection, true);
            await client.mailboxOpen('INBOX');
        }, 'imap');
    },

    async append_flags_search() {
        await reading('vivita', async client => {
            await client.mailboxCreate('Flags');
            const date = new Date('2021-03-04T05:06:07Z');
            const added = await client.append('Flags', letter('one'), ['\\Seen', 'Custom'], date);
            assert.equal(added.uid, 1);
            for (const subject of ['two', 'three', 'four']) await client.append('Flags', letter(subject, subject + ' näh'));
            const box = await client.mailboxOpen('Flags');
            assert.equal(box.exists, 4);
            const [m] = await collect(client.fetch('1', { flags: true, internalDate: true, headers: ['subject'] }));
            assert.deepEqual([...m.flags].filter(f => f !== '\\Recent').sort(), ['Custom', '\\Seen']);
            assert.equal(m.internalDate.getTime(), date.getTime());
            assert.equal(m.headers.toString().trim(), 'Subject: one');
            assert.ok(await client.messageFlagsAdd('2:3', ['\\Flagged', '$Label']));
            assert.ok(await client.messageFlagsRemove('3', ['\\Flagged']));
            assert.ok(await client.messageFlagsSet({ uid: '4' }, ['\\Answered']));
            assert.deepEqual(await client.search({ flagged: true }), [2]);
            assert.deepEqual(await client.search({ keyword: '$Label' }, { uid: true }), [2, 3]);
            assert.deepEqual(await client.search({ or: [{ answered: true }, { subject: 'one' }] }), [1, 4]);
            assert.deepEqual(await client.search({ body: 'näh', not: { flagged: true } }), [3, 4]);
            assert.deepEqual(await client.search({ before: new Date('2022-01-01') }), [1]);
            assert.deepEqual(await client.search({ header: { 'message-id': 'three' } }), [3]);
            assert.deepEqual(await client.search({ larger: 100000 }), []);
            await client.mailboxDelete('Flags');
        });
    },

    async copy_move_delete() {
        await reading('vivita', async client => {
            await client.mailboxCreate('From');
            await client.mailboxCreate('To');
            for (let i = 1; i <= 6; i++) await client.append('From', letter('m' + i));
            await client.mailboxOpen('From');
            const copied = await client.messageCopy('1:2', 'To');
            assert.deepEqual([...copied.uidMap], [[1, 1], [2, 2]]);
            const moved = await client.messageMove({ uid: '3:4' }, 'To', { uid: true });
            assert.deepEqual([...moved.uidMap], [[3, 3], [4, 4]]);
            assert.equal(client.mailbox.exists, 4);
            assert.ok(await client.messageDelete('1'));
            assert.deepEqual((await collect(client.fetch('1:*', { uid: true }))).map(m => m.uid), [2, 5, 6]);
            await client.mailboxOpen('To', { readOnly: true });
            const subjects = (await collect(client.fetch('1:*', { envelope: true }))).map(m => m.envelope.subject);
            assert.deepEqual(subjects, ['m1', 'm2', 'm3', 'm4']);
            await client.mailboxClose();
            for (const name of ['From', 'To']) await client.mailboxDelete(name);
        });
    },

    // A message sent while another client waits: told at once, by IDLE.
    async idle() {
        await reading('karl', async client => {
            const box = await client.mailboxOpen('INBOX');
            const before = box.exists;
            const exists = new Promise(resolve => client.once('exists', resolve));
            const idle = client.idle();
            await mailer('smtp').sendMail({ from: 'a@example.org', to: 'karl@example.com', subject: 'wake up', text: 'x' });
            const event = await exists;
            assert.deepEqual([event.path, event.prevCount, event.count], ['INBOX', before, before + 1]);
            const flags = new Promise(resolve => client.once('flags', resolve));
            const expunge = new Promise(resolve => client.once('expunge', resolve));
            client.idle().catch(() => {});
            await reading('karl', async other => {
                await other.mailboxOpen('INBOX');
                await other.messageFlagsAdd(String(before + 1), ['\\Flagged']);
                assert.ok((await flags).flags.has('\\Flagged'));
                await other.messageDelete(String(before + 1));
                assert.equal((await expunge).seq, before + 1);
            });
            await client.noop(); // ends IDLE
            await idle;
        });
    },

    async quota() {
        await reading('vivita', async client => {
            const quota = await client.getQuota('INBOX');
            assert.equal(quota.path, 'INBOX');
            assert.equal(quota.storage.limit, 100 * 1024 * 1024);
            assert.ok(quota.storage.usage >= 0);
        });
    },

    async large() {
        const content = Buffer.alloc(15_000_000, 'All work and no play makes Jack a dull boy.\r\n');
        const transport = mailer('submissions', 'xandros');
        await transport.sendMail({ from: 'xandros@example.com', to: 'vivita@example.com', subject: 'large', text: 'see below',
            attachments: [{ filename: 'play.txt', content }] });
        await reading('vivita', async client => {
            const box = await client.mailboxOpen('INBOX');
            const file = await client.download(String(box.exists), '2');
            assert.equal(file.meta.filename, 'play.txt');
            assert.ok((await bytes(file.content)).equals(content));
        });
    },
};

await checks[process.argv[2]]();
process.exit(0);
