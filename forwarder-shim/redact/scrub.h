/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules over names and texts: which keys hold secrets, and what is cut out of a text that is kept.
 * They err on the side of hiding. Pure; any thread.
 *
 * A name is compared in lower case with everything but letters and digits left out, so that
 * `API-Key`, `api_key` and `apiKey` are one name. It is secret when, after the harmless words
 * (tokenizer, max_tokens, bypass, ...) are cut out of it,
 *   - it contains: token, secret, password, passwd, passphrase, passcode, pwd, credential, apikey,
 *     privatekey, accesskey, secretkey, accountkey, sharedkey, signingkey, signaturekey,
 *     encryptionkey, masterkey, deploykey, sshkey, licensekey, licencekey, storagekey, writekey,
 *     ingestkey, instrumentationkey, sessionkey, sessionid, accesscode, authorization,
 *     authorisation, authentication, basicauth, oauth, bearer, cookie, csrf, xsrf, jwt, jaas,
 *     webhook, connectionstring, connstr, keypem; or
 *   - it ends with: auth, pass, pw, signature, sig, dsn, psk, otp, hmac, hmackey, creds, cred,
 *     heckey, saskey, aeskey, sas;
 * or when the word auth stands in it as it was written (auth_users, httpAuth; not author).
 */
#ifndef FWDSCOPE_REDACT_SCRUB_H
#define FWDSCOPE_REDACT_SCRUB_H

#include <stdbool.h>
#include <stddef.h>

/* What stands for a secret, and for an endpoint whose user part cannot be told from the rest. */
#define SCRUB_REDACTED "***redacted***"
#define SCRUB_ENDPOINT "<redacted_endpoint>"

/* Whether the value under a key of this name is a secret. Longer than 255 bytes counts as one. */
bool scrub_name_is_secret(const char *name, size_t bytes);

/* Whether the value under a key of this name is an address, so that any `@` in it is suspect. */
bool scrub_name_is_endpoint(const char *name, size_t bytes);

/*
 * Returns a new text, to be freed by the caller, or NULL when memory is out: `text` without
 *   - all of it, if it holds a PEM private key;
 *   - user and password of every URL (scheme://user:password@host), also in lists; a URL, word or
 *     (with `endpoint`, or when it begins as a URL) whole text that holds an `@` but does not parse
 *     becomes SCRUB_ENDPOINT;
 *   - what follows `Bearer` or `Basic`;
 *   - what follows a secret name and `=` or `:`, or a secret --flag: up to the next `&` in a query
 *     string, else to the end of the line, or of the text where the value goes on below.
 * *out_bytes is its length; a NUL byte follows. The result may be longer than the input.
 */
char *scrub_text(const char *text, size_t bytes, bool endpoint, size_t *out_bytes);

#endif
