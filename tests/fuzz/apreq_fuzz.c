/* SPDX-License-Identifier: ISC */
/*
 * AP-REQs against a keytab whose keys fit the tickets of the corpus: those are from a realm long gone, so
 * whatever comes of them, nobody may be let in, and the refusal must be sound. The widest clock skew makes
 * them be decrypted and read to their end all the same.
 */
#include <krb5.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kpop/apreq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The keys of services that never were. */
static const struct {
	const char *principal, *key;
} keys[] = {
    {"pop/localhost@KPOPD.TEST", "\xd1\xa6\x59\x62\xdf\x3b\xc7\x79\x42\x28\x9d\x90\x31\xd9\x9e\xf4\x76\x9b"
				 "\x63\x66\xb1\x0c\xab\x45\x4d\x34\xf5"
				 "\x9b\x53\x80\xa7\x07"},
    {"pop3/localhost@KPOPD.TEST", "\xf7\x74\x18\x62\x06\xd8\x64\xb0\x2e\x95\xd2\x24\x14\xe3\x55\x63\x02\x71"
				  "\x86\xa3\x50\xee\x5b\xb7\x62\x94\x03"
				  "\x22\xab\xed\x3e\x62"},
};

static char dir[] = "/tmp/apreq_fuzz.XXXXXX";
static char conf[64], keytab[64], cache[64];

static void must(int good)
{
	if (!good)
		abort();
}

static void clean(void)
{
	unlink(conf);
	unlink(keytab);
	unlink(cache);
	rmdir(dir);
}

static void write_conf(void)
{
	FILE *file = fopen(conf, "w");
	must(file != NULL);
	fputs("[libdefaults]\n default_realm = KPOPD.TEST\n clockskew = 2000000000\n", file);
	must(fclose(file) == 0 && setenv("KRB5_CONFIG", conf, 1) == 0);
}

static void write_keytab(void)
{
	krb5_context context;
	krb5_keytab file;
	char name[80];

	snprintf(name, sizeof(name), "WRFILE:%s", keytab);
	must(krb5_init_context(&context) == 0 && krb5_kt_resolve(context, name, &file) == 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		krb5_keytab_entry entry = {.vno = 1,
		    .key = {.enctype = ENCTYPE_AES256_CTS_HMAC_SHA1_96,
			.length = 32,
			.contents = (krb5_octet *)(uintptr_t)keys[i].key}};
		must(krb5_parse_name(context, keys[i].principal, &entry.principal) == 0 &&
		     krb5_kt_add_entry(context, file, &entry) == 0);
		krb5_free_principal(context, entry.principal);
	}
	krb5_kt_close(context, file);
	krb5_free_context(context);
}

static struct kpop *open_once(void)
{
	static const char *const services[] = {"pop", "pop3", NULL};
	static struct kpop *kpop;
	char why[512];

	if (kpop != NULL)
		return kpop;
	must(mkdtemp(dir) != NULL);
	snprintf(conf, sizeof(conf), "%s/krb5.conf", dir);
	snprintf(keytab, sizeof(keytab), "%s/keytab", dir);
	snprintf(cache, sizeof(cache), "%s/replay", dir);
	atexit(clean);
	write_conf();
	write_keytab();
	struct kpop_config config = {.keytab = keytab, .replay_cache = cache, .services = services};
	must(kpop_open(&kpop, &config, why, sizeof(why)) == KPOP_OK);
	return kpop;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kpop_result result;
	struct kpop *kpop = open_once();

	must(kpop_accept(kpop, data, size, &result) == KPOP_REFUSED);
	must(result.principal[0] == '\0' && result.why[0] != '\0');
	must(result.reply_len > 4 && result.reply_len <= sizeof(result.reply) && result.reply[4] == 0x7e);
	for (const char *p = result.why; *p != '\0'; p++)
		must(*p >= 0x20 && *p < 0x7f);
	if (getenv("APREQ_FUZZ_VERBOSE") != NULL)
		fprintf(stderr, "%s\n", result.why);
	return 0;
}
