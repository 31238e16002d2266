/* SPDX-License-Identifier: ISC */
#include "server/penalty.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/ledger.h"

#define KEY_OCTETS 16u
#define HASH_OCTETS 16u
#define TICK_MSECS (1000u / LEDGER_TICKS_A_SECOND)
/* A failure that shows its secret counts two points, one that does not counts one. */
#define POINTS_SEEN 2u
#define POINTS_UNSEEN 1u
/* A delay begins with this, and doubles with each failure of a user where he is known... */
#define DELAY_FIRST_MSECS 250u
#define DELAY_DOUBLINGS_COUNT 6u /* ...until it is PENALTY_DELAY_MOST_MSECS */
/* ...and grows by this with each failure of one who is guessed at from elsewhere. */
#define DELAY_STEP_MSECS 100u
#define DELAY_STEPS_COUNT (PENALTY_DELAY_MOST_MSECS / DELAY_STEP_MSECS)

_Static_assert(DELAY_FIRST_MSECS << DELAY_DOUBLINGS_COUNT >= PENALTY_DELAY_MOST_MSECS, "all of the way");
_Static_assert(
    POINTS_SEEN *(PENALTY_USER_FACTOR *PENALTY_THRESHOLD_MOST + DELAY_STEPS_COUNT) <= LEDGER_VALUE_MAX,
    "the largest score fits");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words that processes share without a lock");

/* What the processes share. */
struct table {
	uint8_t key_secret[KEY_OCTETS];
	_Atomic uint64_t sources[PENALTY_SOURCES_COUNT]; /* addresses, and networks of IPv6 */
	_Atomic uint64_t pairs[PENALTY_SOURCES_COUNT];   /* a user at a network */
	_Atomic uint64_t users[PENALTY_SOURCES_COUNT];
	_Atomic uint64_t known[PENALTY_SOURCES_COUNT]; /* users where they have logged in */
	_Atomic uint64_t wrong[PENALTY_SOURCES_COUNT]; /* secrets that were wrong */
	struct turns turns;
};

struct penalty {
	struct table *table;
	EVP_MAC_CTX *mac;
	struct penalty_rule rule;
};

int penalty_create(void)
{
	uint8_t key_secret[KEY_OCTETS];
	int fd = memfd_create("kpopd-penalty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* No process can take memory away from beneath the others. */
	bool good = fd >= 0 && RAND_bytes(key_secret, sizeof key_secret) == 1 &&
		    ftruncate(fd, sizeof(struct table)) == 0 &&
		    pwrite(fd, key_secret, sizeof key_secret, 0) == (ssize_t)sizeof key_secret &&
		    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
	OPENSSL_cleanse(key_secret, sizeof key_secret);
	if (good)
		return fd;
	int err = errno;
	if (fd >= 0)
		close(fd);
	errno = err;
	return -1;
}

static EVP_MAC_CTX *mac_new(void)
{
	unsigned size = HASH_OCTETS;
	const OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_uint(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
	EVP_MAC *siphash = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *mac = siphash != NULL ? EVP_MAC_CTX_new(siphash) : NULL;
	EVP_MAC_free(siphash);
	if (mac != NULL && EVP_MAC_CTX_set_params(mac, params) != 1) {
		EVP_MAC_CTX_free(mac);
		mac = NULL;
	}
	return mac;
}

struct penalty *penalty_open(int fd, const struct penalty_rule *rule)
{
	struct penalty *penalty = calloc(1, sizeof *penalty);
	if (penalty == NULL)
		return NULL;
	penalty->rule = *rule;
	penalty->mac = mac_new();
	penalty->table = mmap(NULL, sizeof(struct table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (penalty->table == MAP_FAILED)
		penalty->table = NULL;
	if (penalty->mac == NULL || penalty->table == NULL) {
		if (penalty->table != NULL)
			errno = ENOMEM;
		penalty_close(&penalty);
	}
	return penalty;
}

void penalty_close(struct penalty **penalty)
{
	if (*penalty == NULL)
		return;
	if ((*penalty)->table != NULL)
		munmap((*penalty)->table, sizeof(struct table));
	EVP_MAC_CTX_free((*penalty)->mac);
	free(*penalty);
	*penalty = NULL;
}

/* ---- keys ---- */

/* What is hashed, so that no two kinds of entry can be mistaken for each other. */
enum purpose { OF_SOURCE = 1, OF_SITE, OF_PAIR, OF_USER, OF_SECRET, OF_WRONG, OF_CHECK, OF_WAIT, OF_FILES };

struct hash {
	uint64_t low, high;
};

static struct hash hash(const struct penalty *p, enum purpose purpose, const uint8_t *address, unsigned bits,
    const struct penalty_who *who, const void *secret, size_t secret_len)
{
	uint8_t head[2 + 16 + 2] = {(uint8_t)purpose, (uint8_t)bits}, out[HASH_OCTETS];
	size_t len = who != NULL ? who->user_len : 0;
	struct hash made = {0, 0};
	memcpy(head + 2, address, bits / 8);
	head[18] = (uint8_t)len;
	head[19] = (uint8_t)(len >> 8);
	if (EVP_MAC_init(p->mac, p->table->key_secret, KEY_OCTETS, NULL) == 1 &&
	    EVP_MAC_update(p->mac, head, sizeof head) == 1 &&
	    (len == 0 || EVP_MAC_update(p->mac, (const uint8_t *)who->user, len) == 1) &&
	    (secret_len == 0 || EVP_MAC_update(p->mac, secret, secret_len) == 1) &&
	    EVP_MAC_final(p->mac, out, NULL, sizeof out) == 1) {
		memcpy(&made.low, out, 8);
		memcpy(&made.high, out + 8, 8);
	}
	OPENSSL_cleanse(out, sizeof out);
	return made;
}

static struct ledger_key key_of(struct hash made)
{
	return (struct ledger_key){.set = (uint32_t)made.low, .tag = (uint32_t)(made.low >> 32)};
}

static bool is_v4(const uint8_t *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	return memcmp(address, mapped, sizeof mapped) == 0;
}

enum { V4_SOURCE_BITS = 128, V4_NETWORK_BITS = 120, V6_SOURCE_BITS = 64, V6_SITE_BITS = 48 };

/* An address of IPv4; of IPv6 a network, as its owner may take any address there. */
static struct hash source_hash(const struct penalty *p, enum purpose purpose, const uint8_t *address)
{
	return hash(p, purpose, address, is_v4(address) ? V4_SOURCE_BITS : V6_SOURCE_BITS, NULL, NULL, 0);
}

static struct ledger_key source_key(const struct penalty *p, const struct penalty_who *who)
{
	return key_of(source_hash(p, OF_SOURCE, who->address));
}

static struct ledger_key site_key(const struct penalty *p, const struct penalty_who *who)
{
	return key_of(hash(p, OF_SITE, who->address, V6_SITE_BITS, NULL, NULL, 0));
}

static unsigned network_bits(const struct penalty_who *who)
{
	return is_v4(who->address) ? V4_NETWORK_BITS : V6_SOURCE_BITS;
}

static struct ledger_key user_key(const struct penalty *p, const struct penalty_who *who)
{
	return key_of(hash(p, OF_USER, who->address, 0, who, NULL, 0));
}

/* The keys of a user at a network: his score there, and the stamps that he is known and what was wrong. */
struct pair {
	struct ledger_key score, known;
	unsigned group;
};

/* All that a user is known from lies in one set, so that he can fill only that, and there only his share. */
static struct pair pair_keys(const struct penalty *p, const struct penalty_who *who)
{
	struct hash at = hash(p, OF_PAIR, who->address, network_bits(who), who, NULL, 0);
	struct hash user = hash(p, OF_USER, who->address, 0, who, NULL, 0);
	return (struct pair){.score = key_of(at),
	    .known = {.set = (uint32_t)user.high, .tag = (uint32_t)at.high},
	    .group = 1 + (unsigned)((user.high >> 32) % LEDGER_VALUE_MAX)};
}

static struct ledger_key wrong_key(const struct penalty *p, const struct penalty_who *who,
    const struct pair *pair, const uint8_t *secret_hash)
{
	struct hash made =
	    hash(p, OF_WRONG, who->address, network_bits(who), who, secret_hash, PENALTY_SECRET_OCTETS);
	return (struct ledger_key){.set = pair->score.set, .tag = (uint32_t)made.low};
}

/* ---- rules ---- */

static struct ledger ledger_of(_Atomic uint64_t *cells)
{
	return (struct ledger){cells, PENALTY_SOURCES_COUNT};
}

static unsigned doublings(const struct penalty_rule *rule)
{
	unsigned count = 0;
	while (count < 31 && (uint64_t)rule->first_secs << count < rule->most_secs)
		count++;
	return count;
}

/* A failure is forgotten every most_secs / faster; no more are counted than make the longest penalty. */
static struct ledger_rule score_rule(
    const struct penalty_rule *rule, unsigned factor, unsigned above, unsigned faster)
{
	uint32_t ticks = rule->most_secs * LEDGER_TICKS_A_SECOND / POINTS_SEEN / faster;
	unsigned most = POINTS_SEEN * (rule->threshold * factor + above) + POINTS_SEEN - 1;
	return (struct ledger_rule){.ticks_a_point = ticks > 0 ? ticks : 1,
	    .most = most < LEDGER_VALUE_MAX ? most : LEDGER_VALUE_MAX};
}

static struct ledger_rule source_rule(const struct penalty *p, unsigned factor)
{
	return score_rule(&p->rule, factor, doublings(&p->rule), 1);
}

static struct ledger_rule known_rule(const struct penalty *p)
{
	return score_rule(&p->rule, PENALTY_KNOWN_FACTOR, DELAY_DOUBLINGS_COUNT, 1);
}

static struct ledger_rule user_rule(const struct penalty *p)
{
	return score_rule(&p->rule, PENALTY_USER_FACTOR, DELAY_STEPS_COUNT, PENALTY_USER_FACTOR);
}

/* How long nothing is checked after a failure that made so many points. */
static unsigned penalty_secs(const struct penalty_rule *rule, unsigned factor, unsigned points)
{
	unsigned failures = points / POINTS_SEEN, threshold = rule->threshold * factor;
	if (failures < threshold)
		return 0;
	unsigned over = failures - threshold;
	uint64_t secs = (uint64_t)rule->first_secs << (over < 31 ? over : 31);
	return secs < rule->most_secs ? (unsigned)secs : rule->most_secs;
}

static unsigned known_delay(const struct penalty_rule *rule, unsigned points)
{
	unsigned failures = points / POINTS_SEEN, threshold = rule->threshold * PENALTY_KNOWN_FACTOR;
	if (failures < threshold)
		return 0;
	unsigned over = failures - threshold;
	return over < DELAY_DOUBLINGS_COUNT ? DELAY_FIRST_MSECS << over : PENALTY_DELAY_MOST_MSECS;
}

static unsigned user_delay(const struct penalty_rule *rule, unsigned points)
{
	unsigned failures = points / POINTS_SEEN, threshold = rule->threshold * PENALTY_USER_FACTOR;
	if (failures <= threshold)
		return 0;
	unsigned over = failures - threshold;
	return over < DELAY_STEPS_COUNT ? over * DELAY_STEP_MSECS : PENALTY_DELAY_MOST_MSECS;
}

/* Worth a line of the log: the first failure that delays answers, and when there are twice as many. */
static unsigned user_news(const struct penalty_rule *rule, unsigned points)
{
	unsigned steps = user_delay(rule, points) / DELAY_STEP_MSECS;
	bool odd = points % POINTS_SEEN != 0;
	return !odd && steps < DELAY_STEPS_COUNT && (steps & (steps - 1)) == 0 ? steps * DELAY_STEP_MSECS : 0;
}

/* ---- questions and news ---- */

/* What is left of the penalty that the last failure of a score brought. */
static uint64_t left(
    const struct penalty *p, _Atomic uint64_t *cells, struct ledger_key key, unsigned factor, uint32_t tick)
{
	const struct ledger ledger = ledger_of(cells);
	const struct ledger_rule rule = source_rule(p, factor);
	struct ledger_score score = ledger_score(&ledger, key, &rule, tick);
	uint64_t all = (uint64_t)penalty_secs(&p->rule, factor, score.written) * 1000;
	uint64_t gone = (uint64_t)score.age * TICK_MSECS;
	return all > gone ? all - gone : 0;
}

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool is_known(const struct penalty *p, const struct pair *pair, uint32_t tick)
{
	const struct ledger known = ledger_of(p->table->known);
	return ledger_stamped(
	    &known, pair->known, pair->group, PENALTY_KNOWN_SECS * LEDGER_TICKS_A_SECOND, tick);
}

struct penalty_advice penalty_ask(const struct penalty *p, const struct penalty_who *who, uint64_t now_msecs)
{
	uint32_t tick = ledger_ticks(now_msecs);
	struct penalty_advice advice = {0, 0, false};
	const struct ledger pairs = ledger_of(p->table->pairs), users = ledger_of(p->table->users);
	struct pair pair = {.group = 0};
	if (p->rule.threshold == 0)
		return advice;
	if (who->user_len != 0) {
		pair = pair_keys(p, who);
		advice.known = is_known(p, &pair, tick);
	}
	if (advice.known) {
		const struct ledger_rule rule = known_rule(p);
		advice.delay_msecs =
		    known_delay(&p->rule, ledger_score(&pairs, pair.score, &rule, tick).points);
		return advice;
	}
	advice.refuse_msecs = left(p, p->table->sources, source_key(p, who), 1, tick);
	if (!is_v4(who->address))
		advice.refuse_msecs = longer(advice.refuse_msecs,
		    left(p, p->table->sources, site_key(p, who), PENALTY_SITE_FACTOR, tick));
	if (who->user_len != 0) {
		const struct ledger_rule rule = user_rule(p);
		advice.refuse_msecs =
		    longer(advice.refuse_msecs, left(p, p->table->pairs, pair.score, 1, tick));
		advice.delay_msecs =
		    user_delay(&p->rule, ledger_score(&users, user_key(p, who), &rule, tick).points);
	}
	return advice;
}

/* Counts a failure; the penalty it brings, 0: none. */
static unsigned count(const struct penalty *p, _Atomic uint64_t *cells, struct ledger_key key,
    unsigned factor, unsigned points, uint32_t tick)
{
	const struct ledger ledger = ledger_of(cells);
	const struct ledger_rule rule = source_rule(p, factor);
	return penalty_secs(&p->rule, factor, ledger_add(&ledger, key, &rule, points, tick));
}

/* Whether this secret was wrong before; it is noted. */
static bool again(const struct penalty *p, const struct penalty_who *who, const struct pair *pair,
    const uint8_t *secret_hash, uint32_t tick)
{
	const struct ledger wrong = ledger_of(p->table->wrong);
	struct ledger_key key = wrong_key(p, who, pair, secret_hash);
	bool was = ledger_stamped(&wrong, key, pair->group, PENALTY_KNOWN_SECS * LEDGER_TICKS_A_SECOND, tick);
	ledger_stamp(&wrong, key, pair->group, PENALTY_WRONG_COUNT, tick);
	return was;
}

void penalty_secret_hash(
    const struct penalty *p, const void *secret, size_t len, uint8_t hash_r[PENALTY_SECRET_OCTETS])
{
	static const uint8_t nowhere[1];
	struct hash made = hash(p, OF_SECRET, nowhere, 0, NULL, secret, len);
	memcpy(hash_r, &made.low, PENALTY_SECRET_OCTETS);
}

struct penalty_news penalty_failed(
    const struct penalty *p, const struct penalty_who *who, const uint8_t *secret_hash, uint64_t now_msecs)
{
	uint32_t tick = ledger_ticks(now_msecs);
	unsigned points = secret_hash != NULL ? POINTS_SEEN : POINTS_UNSEEN;
	struct penalty_news news = {0, 0, 0, 0};
	if (p->rule.threshold == 0)
		return news;
	if (who->user_len != 0) {
		const struct ledger pairs = ledger_of(p->table->pairs), users = ledger_of(p->table->users);
		const struct ledger_rule known = known_rule(p), user = user_rule(p);
		struct pair pair = pair_keys(p, who);
		if (secret_hash != NULL && again(p, who, &pair, secret_hash, tick))
			return news;
		if (is_known(p, &pair, tick)) {
			ledger_add(&pairs, pair.score, &known, points, tick);
			return news;
		}
		news.pair_secs = count(p, p->table->pairs, pair.score, 1, points, tick);
		news.user_delay_msecs =
		    user_news(&p->rule, ledger_add(&users, user_key(p, who), &user, points, tick));
	}
	news.source_secs = count(p, p->table->sources, source_key(p, who), 1, points, tick);
	if (!is_v4(who->address))
		news.site_secs =
		    count(p, p->table->sources, site_key(p, who), PENALTY_SITE_FACTOR, points, tick);
	return news;
}

void penalty_succeeded(const struct penalty *p, const struct penalty_who *who, uint64_t now_msecs)
{
	const struct ledger pairs = ledger_of(p->table->pairs), known = ledger_of(p->table->known);
	if (p->rule.threshold == 0 || who->user_len == 0)
		return;
	struct pair pair = pair_keys(p, who);
	ledger_forget(&pairs, pair.score);
	ledger_stamp(&known, pair.known, pair.group, PENALTY_NETWORKS_COUNT, ledger_ticks(now_msecs));
}

/* ---- turns ---- */

bool penalty_turn_take(const struct penalty *p, const uint8_t address[16], enum penalty_turn kind,
    unsigned limit, unsigned lease_msecs, uint64_t now_msecs, struct turn *turn_r)
{
	uint64_t made = source_hash(p, kind == PENALTY_TURN_CHECK ? OF_CHECK : OF_WAIT, address).low;
	return turns_take(&p->table->turns, made, limit, lease_msecs, now_msecs, turn_r);
}

bool penalty_turn_take_user(const struct penalty *p, const char *user, unsigned limit, unsigned lease_msecs,
    uint64_t now_msecs, struct turn *turn_r)
{
	static const uint8_t nowhere[16];
	const struct penalty_who who = {nowhere, user, strlen(user)};
	uint64_t made = hash(p, OF_FILES, nowhere, 0, &who, NULL, 0).low;
	return turns_take(&p->table->turns, made, limit, lease_msecs, now_msecs, turn_r);
}

void penalty_turn_give(
    const struct penalty *p, struct turn *turn, uint64_t keep_until_msecs, uint64_t now_msecs)
{
	turns_give(&p->table->turns, turn, keep_until_msecs, now_msecs);
}
