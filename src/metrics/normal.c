/*
 * normal.c
 *		The standard normal distribution.  Pure mathematics: needs no server.
 */
#include <math.h>

#include "metrics/normal.h"

double
normal_two_sided_p(double z)
{
	return erfc(fabs(z) * M_SQRT1_2);
}

/*
 * Abramowitz & Stegun 26.2.23 (error below 4.5e-4), then Halley's method on
 * erfc.  It triples the right digits in each step; the third is for the far tail.
 */
double
normal_two_sided_z(double confidence)
{
	double		alpha = 1.0 - confidence;
	double		t = sqrt(-2.0 * log(alpha / 2.0));
	double		z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
		(1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));

	for (int step = 0; step < 3; step++)
	{
		/* Of the two complements, the small one carries the digits. */
		double		excess = confidence < 0.5 ?
			confidence - erf(z * M_SQRT1_2) :
			erfc(z * M_SQRT1_2) - alpha;
		double		newton = excess / (sqrt(2.0 / M_PI) * exp(-0.5 * z * z));

		z += newton / (1.0 - 0.5 * z * newton);
	}
	return z;
}
