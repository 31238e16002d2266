/* SPDX-License-Identifier: ISC */
/*
 * config_comments: the text of a configuration without its comments. Private to config.
 *
 * libconfuse counts the lines of comments more than once, so the lines it tells of would be wrong.
 */
#ifndef KPOPD_SERVER_CONFIG_COMMENTS_H
#define KPOPD_SERVER_CONFIG_COMMENTS_H

/*
 * Puts blanks where text has comments: from '#', or "//" before a word, to the line's end; from "/" "*"
 * before a word to its other end. 0, or the line of one that has no other end.
 */
int config_comments_blank(char *text);

#endif
