# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
"""A mail system's database as Flurdy's guide sets it up, and as PostfixAdmin does: tables with the published names and
columns, and people of our own in them. Of each scheme of password hashes somebody has one."""
import subprocess

# address -> (stored, the password)
PEOPLE = {
    "anna@example.com": ("$5$rounds=5000$anna", "anna-pass"),
    "bert@example.com": ("$6$", "bert-pass"),
    "carl@example.com": ("$1$", "carl-pass"),
    "dora@example.net": ("$2y$", "dora-pass"),
    "emil@example.net": ("{SHA256-CRYPT}", "emil-pass"),
    "fred@example.net": ("des", "fredpass"),
    "gina@example.net": ("{SSHA}", "gina-pass"),
    "hans@example.net": ("{PLAIN-MD5}", "hans-pass"),
    "ines@example.net": ("{ARGON2ID}", "ines-pass"),
    "karl@example.com": ("clear", "karl-pass"),
}


def make_hash(scheme, password):
    """By other people's programs: openssl, perl's crypt(3), python's hashlib, argon2 by php or nothing."""
    import base64
    import hashlib
    if scheme.startswith("{SSHA}"):
        return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + b"salt").digest() + b"salt").decode()
    if scheme == "{PLAIN-MD5}":
        return "{PLAIN-MD5}" + hashlib.md5(password.encode()).hexdigest()
    if scheme == "{ARGON2ID}":  # of ines-pass; by doveadm pw of Dovecot 2.3.19
        return ARGON2
    salts = {"$5": "$5$saltsaltsalt", "$6": "$6$saltsaltsalt", "$1": "$1$saltsalt", "$2": "$2y$05$abcdefghijklmnopqrstuu",
             "{S": "$5$othersalt", "de": "ab"}
    done = subprocess.run(["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, salts[scheme[:2]]], capture_output=True,
                          text=True, check=True)
    return ("{SHA256-CRYPT}" if scheme[0] == "{" else "") + done.stdout


ARGON2 = "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$S5wirAdymlIEWhJjkQ5LqA$jNGcGptLXBdoL5MhYbid7/QbL2tdj8XgH5IuxnF9Tv0"

FLURDY = """
CREATE TABLE `aliases` (
  `pkid` smallint(3) NOT NULL auto_increment,
  `mail` varchar(120) NOT NULL default '',
  `destination` varchar(120) NOT NULL default '',
  `enabled` tinyint(1) NOT NULL default '1',
  PRIMARY KEY (`pkid`),
  UNIQUE KEY `mail` (`mail`)
) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE `domains` (
  `pkid` smallint(6) NOT NULL auto_increment,
  `domain` varchar(120) NOT NULL default '',
  `transport` varchar(120) NOT NULL default 'virtual:',
  `enabled` tinyint(1) NOT NULL default '1',
  PRIMARY KEY (`pkid`)
) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE `users` (
  `id` varchar(128) NOT NULL default '',
  `name` varchar(128) NOT NULL default '',
  `uid` smallint(5) unsigned NOT NULL default '5000',
  `gid` smallint(5) unsigned NOT NULL default '5000',
  `home` varchar(255) NOT NULL default '/var/spool/mail/virtual',
  `maildir` varchar(255) NOT NULL default 'blah/',
  `enabled` tinyint(1) NOT NULL default '1',
  `change_password` tinyint(1) NOT NULL default '1',
  `clear` varchar(128) NOT NULL default 'ChangeMe',
  `crypt` varchar(128) NOT NULL default 'sdtrusfX0Jj66',
  `quota` varchar(255) NOT NULL default '',
  `procmailrc` varchar(128) NOT NULL default '',
  `spamassassinrc` varchar(128) NOT NULL default '',
  PRIMARY KEY (`id`),
  UNIQUE KEY `id` (`id`)
) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE `backups` (
  `pkid` smallint(6) NOT NULL auto_increment,
  `domain` varchar(128) NOT NULL default '',
  `transport` varchar(128) NOT NULL default ':[]',
  PRIMARY KEY (`pkid`)
) ENGINE=MyISAM DEFAULT CHARSET=latin1;
CREATE TABLE `relocated` (
  `pkid` smallint(6) NOT NULL auto_increment,
  `oldadr` varchar(128) NOT NULL default '',
  `newadr` varchar(128) NOT NULL default '',
  PRIMARY KEY (`pkid`)
) ENGINE=MyISAM DEFAULT CHARSET=latin1;
INSERT INTO domains (domain) VALUES ('localhost'), ('example.com'), ('example.net');
INSERT INTO domains (domain, enabled) VALUES ('off.example', 0);
INSERT INTO aliases (mail, destination) VALUES ('postmaster@example.com', 'anna@example.com'),
  ('info@example.com', 'anna@example.com,bert@example.com'), ('@example.net', 'dora@example.net'),
  ('anna@example.com', 'anna@example.com');
INSERT INTO aliases (mail, destination, enabled) VALUES ('off@example.com', 'anna@example.com', 0);
INSERT INTO relocated (oldadr, newadr) VALUES ('gone@example.com', 'new@elsewhere.example');
INSERT INTO backups (domain) VALUES ('backed.example');
"""
FLURDY_TABLES = ("aliases", "domains", "users", "backups", "relocated")

POSTFIXADMIN = """
CREATE TABLE domain (domain varchar(255) NOT NULL, description varchar(255) NOT NULL, aliases int NOT NULL DEFAULT 0,
  mailboxes int NOT NULL DEFAULT 0, maxquota bigint NOT NULL DEFAULT 0, quota bigint NOT NULL DEFAULT 0,
  transport varchar(255) DEFAULT NULL, backupmx tinyint(1) NOT NULL DEFAULT 0,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00', modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1, PRIMARY KEY (domain)) CHARSET=latin1;
CREATE TABLE mailbox (username varchar(255) NOT NULL, password varchar(255) NOT NULL, name varchar(255) CHARACTER SET utf8mb4 NOT NULL,
  maildir varchar(255) NOT NULL, quota bigint NOT NULL DEFAULT 0, local_part varchar(255) NOT NULL, domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00', modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1, PRIMARY KEY (username), KEY domain (domain)) CHARSET=latin1;
CREATE TABLE alias (address varchar(255) NOT NULL, goto text NOT NULL, domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00', modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1, PRIMARY KEY (address), KEY domain (domain)) CHARSET=latin1;
CREATE TABLE alias_domain (alias_domain varchar(255) NOT NULL, target_domain varchar(255) NOT NULL,
  created datetime NOT NULL DEFAULT '2000-01-01 00:00:00', modified datetime NOT NULL DEFAULT '2000-01-01 00:00:00',
  active tinyint(1) NOT NULL DEFAULT 1, PRIMARY KEY (alias_domain)) CHARSET=latin1;
INSERT INTO domain (domain, description, transport) VALUES ('ALL', '', ''), ('example.com', 'ours', 'virtual'),
  ('example.net', 'too', 'virtual'), ('alias.example', '', 'virtual');
INSERT INTO domain (domain, description, transport, backupmx) VALUES ('backed.example', '', '', 1);
INSERT INTO alias (address, goto, domain) VALUES ('info@example.com', 'anna@example.com,bert@example.com', 'example.com'),
  ('@example.net', 'dora@example.net', 'example.net');
INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('alias.example', 'example.com');
"""
POSTFIXADMIN_TABLES = ("domain", "mailbox", "alias", "alias_domain")


def quote(text):
    return "'%s'" % text.replace("\\", "\\\\").replace("'", "''")


def flurdy():
    rows = []
    for address, (scheme, password) in PEOPLE.items():
        local, domain = address.split("@")
        clear, crypt = (password, "") if scheme == "clear" else ("", make_hash(scheme, password))
        rows.append("(%s, %s, %s, %s, %s)" % (quote(address), quote(local.title()), quote("%s/%s/" % (domain, local)), quote(clear),
                                              quote(crypt)))
    off = "('off@example.com', 'Off', 'x/', '', %s, 0)" % quote(make_hash("$5$", "off-pass"))
    return FLURDY + "INSERT INTO users (id, name, maildir, clear, crypt) VALUES %s;\n" % ", ".join(rows) + (
        "INSERT INTO users (id, name, maildir, clear, crypt, enabled) VALUES %s;\n" % off)


def postfixadmin():
    text = POSTFIXADMIN
    for address, (scheme, password) in PEOPLE.items():
        local, domain = address.split("@")
        stored = "{CLEARTEXT}" + password if scheme == "clear" else make_hash(scheme, password)
        text += "INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain) VALUES (%s);\n" % ", ".join(
            [quote(address), quote(stored), quote(local.title()), quote("%s/%s/" % (domain, local)), "1048576000", quote(local),
             quote(domain)])
        text += "INSERT INTO alias (address, goto, domain) VALUES (%s, %s, %s);\n" % (quote(address), quote(address), quote(domain))
    return text
