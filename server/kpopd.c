/* SPDX-License-Identifier: ISC */
#include <stdio.h>

int main(void)
{
	puts("kpopd " KPOPD_VERSION);
	return 0;
}
