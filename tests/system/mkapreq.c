/* SPDX-License-Identifier: ISC */
/*
 * mkapreq: an AP-REQ for a service, from the credential cache, for tests that speak KPOP octet by octet.
 *
 *   mkapreq [-m] [-s SECONDS] SERVICE/HOST      -m: ask for mutual authentication
 *                                               -s: a clock that is wrong by so much
 *
 * Writes the AP-REQ behind its length (4 octets) to standard output. With -m it then reads an AP-REP in
 * the same form from standard input and exits with 0 when it proves that the server had the key, 1 when
 * it does not. An end of input instead of an AP-REP is no error: many tests want no more than the AP-REQ.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <krb5.h>

#define REPLY_OCTETS 65536u

static void check(krb5_context context, krb5_error_code err, const char *what)
{
	if (err == 0)
		return;
	const char *text = krb5_get_error_message(context, err);

	fprintf(stderr, "mkapreq: %s: %s\n", what, text);
	krb5_free_error_message(context, text);
	exit(2);
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

static krb5_creds *ticket_get(krb5_context context, const char *service)
{
	krb5_creds wanted = {0}, *creds;
	krb5_ccache cache;

	check(context, krb5_cc_default(context, &cache), "no credential cache");
	check(context, krb5_cc_get_principal(context, cache, &wanted.client),
	    "no principal in the credential cache");
	check(context, krb5_parse_name(context, service, &wanted.server), service);
	check(context, krb5_get_credentials(context, 0, cache, &wanted, &creds), "no ticket");
	krb5_free_cred_contents(context, &wanted);
	krb5_cc_close(context, cache);
	return creds;
}

int main(int argc, char **argv)
{
	krb5_flags options = 0;
	long skew_secs = 0;
	int opt;

	while ((opt = getopt(argc, argv, "ms:")) != -1) {
		if (opt == 'm')
			options = AP_OPTS_MUTUAL_REQUIRED;
		else if (opt == 's')
			skew_secs = strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: mkapreq [-m] [-s SECONDS] SERVICE/HOST\n");
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
	krb5_creds *creds = ticket_get(context, argv[optind]);

	if (skew_secs != 0)
		check(context, krb5_set_real_time(context, (krb5_timestamp)(time(NULL) + skew_secs), 0),
		    "clock");
	check(context, krb5_mk_req_extended(context, &auth, options, NULL, creds, &request), "no AP-REQ");
	write_framed(&request);
	if (options != 0 && read_framed(buf, &reply))
		status = krb5_rd_rep(context, auth, &reply, &part) != 0;
	krb5_free_ap_rep_enc_part(context, part);
	krb5_free_data_contents(context, &request);
	krb5_free_creds(context, creds);
	krb5_auth_con_free(context, auth);
	krb5_free_context(context);
	return status;
}
