/* SPDX-License-Identifier: ISC */
/*
 * mkapreq: an AP-REQ for a service, from the credential cache, for tests that speak KPOP octet by octet.
 *
 *   mkapreq [-mx] [-s SECONDS] [-g | -2] SERVICE/HOST
 *      -x: a ticket of the cache, though it has expired
 *      -m: ask for mutual authentication        -s: a clock that is wrong by so much
 *      -g: as the first token of GSSAPI         -2: as the first message of GS2-KRB5, with the header "n,,"
 *
 * Writes the AP-REQ behind its length (4 octets) to standard output. With -m it then reads an AP-REP in
 * the same form from standard input and exits with 0 when it proves that the server had the key, 1 when
 * it does not. An end of input instead of an AP-REP is no error: many tests want no more than the AP-REQ.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <krb5.h>

#define REPLY_OCTETS 65536u
#define CHECKSUM_OCTETS 24u /* RFC 4121 section 4.1.1 */
#define GSS_CHECKSUM 0x8003
#define GSS_MUTUAL 2u
#define STALE_SECS 86400

enum form { PLAIN = 0, GSSAPI, GS2 };

static void check(krb5_context context, krb5_error_code err, const char *what)
{
	if (err == 0)
		return;
	const char *text = krb5_get_error_message(context, err);

	fprintf(stderr, "mkapreq: %s: %s\n", what, text);
	krb5_free_error_message(context, text);
	exit(2);
}

static void put_little(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

/* What GSS-API puts into the authenticator: a hash of the channel binding (of GS2: its header), and flags. */
static void set_checksum(krb5_context context, krb5_auth_context *auth, enum form form, uint8_t *octets)
{
	static const char header[] = "n,,";
	uint8_t bindings[20 + sizeof(header) - 1] = {0};
	krb5_data data = {.data = (char *)bindings, .length = sizeof(bindings)};
	krb5_checksum hash = {0};

	check(context, krb5_auth_con_init(context, auth), "no context");
	check(context, krb5_auth_con_set_req_cksumtype(context, *auth, GSS_CHECKSUM), "no checksum");
	put_little(octets, 16);
	put_little(octets + 20, GSS_MUTUAL);
	if (form != GS2)
		return;
	put_little(bindings + 16, sizeof(header) - 1);
	memcpy(bindings + 20, header, sizeof(header) - 1);
	check(context, krb5_c_make_checksum(context, CKSUMTYPE_RSA_MD5, NULL, 0, &data, &hash), "no hash");
	memcpy(octets + 4, hash.contents, 16);
	krb5_free_checksum_contents(context, &hash);
}

/* RFC 2743 section 3.1 and RFC 4121 section 4.1; RFC 5801 section 4 leaves the frame out. */
static krb5_data wrap(const krb5_data *request, enum form form)
{
	static const uint8_t kerberos[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02};
	unsigned inner = (form == GSSAPI ? (unsigned)sizeof(kerberos) : 0) + 2 + request->length;
	krb5_data whole = {.data = malloc(inner + 4)};
	uint8_t *at = (uint8_t *)whole.data;

	if (at == NULL || inner < 256 || inner > 65535)
		exit(2);
	if (form == GSSAPI) {
		*at++ = 0x60;
		*at++ = 0x82;
		*at++ = (uint8_t)(inner >> 8);
		*at++ = (uint8_t)inner;
		memcpy(at, kerberos, sizeof(kerberos));
		at += sizeof(kerberos);
	} else {
		memcpy(at, "n,,", 3);
		at += 3;
	}
	*at++ = 1;
	*at++ = 0;
	memcpy(at, request->data, request->length);
	whole.length = (unsigned)(at + request->length - (uint8_t *)whole.data);
	return whole;
}

static void write_framed(const krb5_data *data)
{
	uint32_t len = htonl(data->length);

	fwrite(&len, sizeof(len), 1, stdout);
	fwrite(data->data, 1, data->length, stdout);
	if (fflush(stdout) != 0)
		exit(2);
}

/* Whether there was one at all. */
static bool read_framed(char *buf, krb5_data *data_r)
{
	uint32_t len;

	if (fread(&len, sizeof(len), 1, stdin) != 1)
		return false;
	len = ntohl(len);
	if (len > REPLY_OCTETS || fread(buf, 1, len, stdin) != len) {
		fprintf(stderr, "mkapreq: the AP-REP is cut short or too long\n");
		exit(1);
	}
	*data_r = (krb5_data){.data = buf, .length = len};
	return true;
}

/* stale: from the cache, whatever its age. */
static krb5_creds *ticket_get(krb5_context context, const char *service, bool stale)
{
	krb5_creds wanted = {0}, *creds;
	krb5_ccache cache;

	check(context, krb5_cc_default(context, &cache), "no credential cache");
	check(context, krb5_cc_get_principal(context, cache, &wanted.client),
	    "no principal in the credential cache");
	check(context, krb5_parse_name(context, service, &wanted.server), service);
	if (stale) {
		creds = calloc(1, sizeof(*creds));
		check(context,
		    creds == NULL
			? ENOMEM
			: krb5_cc_retrieve_cred(context, cache, KRB5_TC_MATCH_SRV_NAMEONLY, &wanted, creds),
		    "no ticket in the cache");
	} else {
		check(context, krb5_get_credentials(context, 0, cache, &wanted, &creds), "no ticket");
	}
	krb5_free_cred_contents(context, &wanted);
	krb5_cc_close(context, cache);
	return creds;
}

int main(int argc, char **argv)
{
	krb5_flags options = 0;
	long skew_secs = 0;
	enum form form = PLAIN;
	bool stale = false;
	int opt;

	while ((opt = getopt(argc, argv, "ms:g2x")) != -1) {
		if (opt == 'm')
			options = AP_OPTS_MUTUAL_REQUIRED;
		else if (opt == 's')
			skew_secs = strtol(optarg, NULL, 10);
		else if (opt == 'x')
			stale = true;
		else if (opt == 'g' || opt == '2')
			form = opt == 'g' ? GSSAPI : GS2;
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: mkapreq [-mx] [-s SECONDS] [-g | -2] SERVICE/HOST\n");
		return 2;
	}

	krb5_context context;
	krb5_auth_context auth = NULL;
	krb5_data request;
	char buf[REPLY_OCTETS];
	krb5_data reply;
	krb5_ap_rep_enc_part *part = NULL;
	int status = 0;

	check(NULL, krb5_init_context(&context), "Kerberos");
	krb5_creds *creds = ticket_get(context, argv[optind], stale);
	/* For the client's own library alone: it would not send what is not valid by the clock it has. */
	creds->times.starttime -= skew_secs < 0 ? -2 * (krb5_timestamp)skew_secs : 0;
	creds->times.endtime += stale ? STALE_SECS : 0;

	if (skew_secs != 0)
		check(context, krb5_set_real_time(context, (krb5_timestamp)(time(NULL) + skew_secs), 0),
		    "clock");
	uint8_t checksum[CHECKSUM_OCTETS] = {0};
	krb5_data sum = {.data = (char *)checksum, .length = sizeof(checksum)};
	if (form != PLAIN) {
		options |= AP_OPTS_MUTUAL_REQUIRED;
		set_checksum(context, &auth, form, checksum);
	}
	check(context,
	    krb5_mk_req_extended(context, &auth, options, form == PLAIN ? NULL : &sum, creds, &request),
	    "no AP-REQ");
	if (form != PLAIN) {
		krb5_data token = wrap(&request, form);
		write_framed(&token);
		free(token.data);
	} else {
		write_framed(&request);
	}
	if (form == PLAIN && options != 0 && read_framed(buf, &reply))
		status = krb5_rd_rep(context, auth, &reply, &part) != 0;
	krb5_free_ap_rep_enc_part(context, part);
	krb5_free_data_contents(context, &request);
	krb5_free_creds(context, creds);
	krb5_auth_con_free(context, auth);
	krb5_free_context(context);
	return status;
}
