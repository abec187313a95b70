/*
 * normal.h
 *		The standard normal distribution, as far as tests and intervals need it.
 */
#ifndef LOYALTY_NORMAL_H
#define LOYALTY_NORMAL_H

/* P(|Z| >= |z|) */
extern double normal_two_sided_p(double z);

/* The z with P(|Z| <= z) = confidence, 0 < confidence < 1. */
extern double normal_two_sided_z(double confidence);

#endif							/* LOYALTY_NORMAL_H */
