/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/date.h"
#include "appliance/mail/lex.h"

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char weekdays[] = "SunMonTueWedThuFriSat";

/* Years 0001 to 9999: what four digits can say. */
#define AT_MIN INT64_C(-62135596800)
#define AT_MAX INT64_C(253402300799)

struct civil {
    int64_t year, month, day; /* month 1..12 */
    int64_t hour, min, sec;
};

/* Days since 1970 of the proleptic Gregorian calendar, by eras of 400 years that begin in March. */
static int64_t civil_days(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static struct civil civil_of(int64_t at)
{
    int64_t days = floor_div(at, 86400), rest = at - days * 86400;
    int64_t z = days + 719468, era = floor_div(z, 146097), of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    struct civil c = {.day = of_year - (153 * m + 2) / 5 + 1, .month = m < 10 ? m + 3 : m - 9};
    c.year = y + era * 400 + (c.month <= 2);
    c.hour = rest / 3600;
    c.min = rest / 60 % 60;
    c.sec = rest % 60;
    return c;
}

static int civil_join(const struct civil *c, int zone, struct date *out)
{
    static const signed char length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = c->year % 4 == 0 && (c->year % 100 != 0 || c->year % 400 == 0);
    if (c->year < 1 || c->month < 1 || c->month > 12 || c->day < 1 ||
        c->day > length[c->month - 1] + (c->month == 2 && leap))
        return -1;
    if (c->hour > 23 || c->min > 59 || c->sec > 60)
        return -1;
    out->at = civil_days(c->year, c->month, c->day) * 86400 + c->hour * 3600 + c->min * 60 +
              c->sec - (int64_t)zone * 60;
    out->zone = zone;
    return 0;
}

/* Takes up to `most` digits; the number of them. */
static size_t digits_take(struct str *in, size_t most, int64_t *out)
{
    size_t n = 0;
    *out = 0;
    while (n < most && n < in->n && in->p[n] >= '0' && in->p[n] <= '9')
        *out = *out * 10 + (in->p[n++] - '0');
    *in = str_skip(*in, n);
    return n;
}

static bool char_take(struct str *in, char c)
{
    if (in->n == 0 || in->p[0] != c)
        return false;
    *in = str_skip(*in, 1);
    return true;
}

/* The place of a three-letter name in its table, -1: not there. `word` may be longer ("Sept",
 * "Friday"). */
static int name_index(const char *table, struct str word)
{
    if (word.n < 3)
        return -1;
    for (int i = 0; table[i * 3]; i++)
        if (str_ieq(str_take(word, 3), str_of(table + i * 3, 3)))
            return i;
    return -1;
}

static struct str letters_take(struct str *in)
{
    size_t n = 0;
    while (n < in->n && ascii_lower(in->p[n]) >= 'a' && ascii_lower(in->p[n]) <= 'z')
        n++;
    struct str word = str_take(*in, n);
    *in = str_skip(*in, n);
    return word;
}

/* RFC 5322 4.3: names of zones. Military letters and unknown names say nothing sure: -0000. */
static int zone_named(struct str word)
{
    static const struct {
        char name[5];
        int hours;
    } zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5}, {"MST", -7},
                 {"MDT", -6}, {"PST", -8}, {"PDT", -7}, {"CET", 1},  {"CEST", 2},
                 {"MET", 1},  {"MEST", 2}, {"JST", 9}};
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
        if (str_ieq(word, str_from(zones[i].name)))
            return zones[i].hours * 60;
    return 0;
}

/* "+0100", also "+01:00" and "+1"; -1: out of range. */
static int zone_numeric(struct str *in, int *out)
{
    int64_t value, minutes;
    bool west = in->p[0] == '-';
    *in = str_skip(*in, 1);
    size_t n = digits_take(in, 4, &value);
    if (n == 0)
        return -1;
    if (n <= 2) {
        minutes = 0;
        if (char_take(in, ':') && digits_take(in, 2, &minutes) != 2)
            return -1;
        value = value * 100 + minutes;
    }
    minutes = value / 100 * 60 + value % 100;
    if (value % 100 > 59 || value / 100 > 24)
        return -1;
    *out = (int)(west ? -minutes : minutes);
    return 0;
}

/* "06:29:08"; the seconds may be missing, and the parts be apart (RFC 5322 4.3). */
static int time_take(struct str *in, struct civil *c)
{
    if (digits_take(in, 2, &c->hour) == 0)
        return -1;
    lex_cfws(in, NULL);
    if (!char_take(in, ':') && !char_take(in, '.'))
        return -1;
    lex_cfws(in, NULL);
    if (digits_take(in, 2, &c->min) == 0)
        return -1;
    lex_cfws(in, NULL);
    if (char_take(in, ':') || char_take(in, '.')) {
        lex_cfws(in, NULL);
        if (digits_take(in, 2, &c->sec) == 0)
            return -1;
    }
    return 0;
}

static void gap_take(struct str *in)
{
    lex_cfws(in, NULL);
    while (char_take(in, '-') || char_take(in, ',') || char_take(in, '/'))
        lex_cfws(in, NULL);
}

static int year_take(struct str *in, int64_t *year)
{
    size_t n = digits_take(in, 4, year);
    if (n < 2)
        return -1;
    if (n == 2 && *year < 50) /* RFC 5322 4.3 */
        *year += 2000;
    else if (n < 4)
        *year += 1900;
    return 0;
}

static int zone_take(struct str *in, int *zone)
{
    lex_cfws(in, NULL);
    if (in->n > 0 && (in->p[0] == '+' || in->p[0] == '-'))
        return zone_numeric(in, zone);
    *zone = zone_named(letters_take(in));
    return 0;
}

/* "Nov 20 06:29:08 2026" after the weekday, as ctime(3) writes it; a zone may stand before the
 * year. */
static int ctime_take(struct str *in, struct civil *c, int *zone)
{
    c->month = name_index(months, letters_take(in)) + 1;
    gap_take(in);
    if (digits_take(in, 2, &c->day) == 0)
        return -1;
    gap_take(in);
    if (time_take(in, c) < 0)
        return -1;
    if (zone_take(in, zone) < 0)
        return -1;
    lex_cfws(in, NULL);
    return year_take(in, &c->year);
}

int date_parse(struct str in, struct date *out)
{
    struct civil c = {0};
    int zone = 0;
    lex_cfws(&in, NULL);
    struct str rest = in, word = letters_take(&rest);
    if (word.n > 0 && name_index(months, word) < 0) {
        in = rest; /* the day of the week is not looked at: it may be in any language */
        gap_take(&in);
    }
    if (in.n > 0 && (in.p[0] < '0' || in.p[0] > '9'))
        return ctime_take(&in, &c, &zone) < 0 ? -1 : civil_join(&c, zone, out);
    if (digits_take(&in, 2, &c.day) == 0)
        return -1;
    gap_take(&in);
    c.month = name_index(months, letters_take(&in)) + 1;
    char_take(&in, '.');
    gap_take(&in);
    if (year_take(&in, &c.year) < 0)
        return -1;
    gap_take(&in);
    if (time_take(&in, &c) < 0 || zone_take(&in, &zone) < 0)
        return -1;
    return civil_join(&c, zone, out);
}

static struct civil local_civil(struct date *d)
{
    d->at = d->at < AT_MIN + 86400   ? AT_MIN + 86400
            : d->at > AT_MAX - 86400 ? AT_MAX - 86400
                                     : d->at;
    if (d->zone <= -24 * 60 || d->zone >= 24 * 60)
        d->zone = 0;
    return civil_of(d->at + (int64_t)d->zone * 60);
}

static int format(struct date d, struct buf *out, bool imap)
{
    struct civil c = local_civil(&d);
    int east = d.zone < 0 ? -d.zone : d.zone;
    int64_t weekday = (civil_days(c.year, c.month, c.day) + 4) % 7; /* 1970-01-01 was a Thursday */
    if (weekday < 0)
        weekday += 7;
    const char *month = months + (c.month - 1) * 3;
    int rc;
    if (imap)
        rc = buf_printf(out, "%2d-%.3s-%04d ", (int)c.day, month, (int)c.year);
    else
        rc = buf_printf(out, "%.3s, %d %.3s %04d ", weekdays + weekday * 3, (int)c.day, month,
                        (int)c.year);
    return rc < 0 ? rc
                  : buf_printf(out, "%02d:%02d:%02d %c%02d%02d", (int)c.hour, (int)c.min,
                               (int)c.sec, d.zone < 0 ? '-' : '+', east / 60, east % 60);
}

int date_format(struct date d, struct buf *out)
{
    return format(d, out, false);
}

int date_imap_format(struct date d, struct buf *out)
{
    return format(d, out, true);
}

static int imap_day_take(struct str *in, struct civil *c)
{
    if (digits_take(in, 2, &c->day) == 0 || !char_take(in, '-'))
        return -1;
    struct str month = letters_take(in);
    c->month = month.n == 3 ? name_index(months, month) + 1 : 0;
    return char_take(in, '-') && digits_take(in, 4, &c->year) == 4 ? 0 : -1;
}

int date_imap_parse(struct str in, struct date *out)
{
    struct civil c = {0};
    int zone;
    char_take(&in, ' '); /* RFC 3501 date-day-fixed */
    if (imap_day_take(&in, &c) < 0 || !char_take(&in, ' '))
        return -1;
    if (digits_take(&in, 2, &c.hour) != 2 || !char_take(&in, ':') ||
        digits_take(&in, 2, &c.min) != 2 || !char_take(&in, ':') ||
        digits_take(&in, 2, &c.sec) != 2 || !char_take(&in, ' '))
        return -1;
    if (in.n != 5 || (in.p[0] != '+' && in.p[0] != '-') || zone_numeric(&in, &zone) < 0 || in.n > 0)
        return -1;
    return civil_join(&c, zone, out);
}

int date_imap_day_parse(struct str in, int64_t *day_out)
{
    struct civil c = {0};
    struct date d;
    if (imap_day_take(&in, &c) < 0 || in.n > 0 || civil_join(&c, 0, &d) < 0)
        return -1;
    *day_out = floor_div(d.at, 86400);
    return 0;
}

int64_t date_day(struct date d)
{
    int64_t second =
        (d.at % 86400 + 86400) % 86400; /* in steps that can't overflow, whatever d says */
    return floor_div(d.at, 86400) + floor_div(second + (int64_t)d.zone * 60, 86400);
}
