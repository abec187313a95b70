#!/usr/bin/python3
"""Arbitrary-precision values of the distributions in special.h.

Needs python3-mpmath.  Prints distributions.txt, which is kept beside this file:

    test/models/distributions.py > test/models/distributions.txt

Student's t and chi-square come from mpmath's own incomplete beta and gamma
functions, the noncentral t from the definition, by quadrature over chi.
"""
from mpmath import (betainc, erfc, erfinv, exp, findroot, gammainc, inf, linspace, log, log1p,
                    loggamma, mp, mpf, nstr, pi, quad, sqrt)

mp.dps = 40


def show(fn, args, value):
    print(fn, '{' + ','.join(args) + '}', nstr(value, 17, min_fixed=0, max_fixed=0), sep='\t')


def t_tail(t, df):
    if df <= 1000:
        return betainc(df / 2, mpf(1) / 2, 0, df / (df + t * t), regularized=True)
    # where the series of betainc hardly moves: the density falls as fast as the normal one's
    half = (df + 1) / 2
    front = exp(loggamma(half) - loggamma(df / 2) - half * log1p(t * t / df)) / sqrt(df * pi)
    return 2 * front * quad(lambda u: exp(-half * (log1p(u * u / df) - log1p(t * t / df))),
                            [t + k / max(t, 1) for k in (0, 1, 3, 8, 16, 30, 50, 90, 200)])


def t_quantile(confidence, df):
    # in the logarithms, where the curve is smooth: by the secant method
    goal = log(1 - confidence) if confidence > 0.5 else log(confidence)

    def excess(u):
        p = t_tail(exp(u), df)
        return (log(p) if confidence > 0.5 else log(1 - p)) - goal

    start = log(sqrt(mpf(2)) * erfinv(confidence))
    return exp(findroot(excess, (start, start + mpf('0.1')), tol=1e-25))


def power(t, df, delta):
    def normal_tail(z):
        return erfc(z / sqrt(mpf(2))) / 2

    def integrand(s):
        density = 2 * exp(df / 2 * log(df / 2) - loggamma(df / 2) + (df - 1) * log(s) - df * s * s / 2)
        return density * (normal_tail(t * s - delta) + normal_tail(t * s + delta))

    width = 1 / sqrt(2 * df)
    points = [x for x in linspace(1 - 14 * width, 1 + 14 * width, 29) if x > 0]
    return quad(integrand, [mpf('1e-30')] + points + [1 + 40 * width, inf])


for df in ['1', '1.5', '2', '3', '4.7', '8.66278101582015', '30', '99.5', '1000', '123456.7', '1e6',
           '3e7', '1e9']:
    for t in ['0.001', '0.2', '1', '1.7', '1.96', '2.6296449721851354', '5', '12', '37']:
        show('student_t_two_sided_p', [t, df], t_tail(mpf(t), mpf(df)))
    for confidence in ['0.001', '0.3', '0.5', '0.8', '0.9', '0.95', '0.99', '0.9999', '0.9999999999']:
        # the double that C reads, since 1 - confidence shows its last bit
        show('student_t_two_sided_t', [confidence, df], t_quantile(mpf(float(confidence)), mpf(df)))

for t, df, delta in [('2.024394', '38', '3.1622776601683795'), ('2.024394', '38', '0'),
                     ('12.7', '1', '3'), ('4.3', '2', '-2.5'), ('2', '3.5', '1'), ('1.98', '100', '2.8'),
                     ('1.96', '9998', '3.24'), ('1.96', '1e6', '0.01'), ('2.5758', '2e5', '-6'),
                     ('3', '12', '9'), ('0.5', '7', '0.1'), ('1.96', '3e7', '1')]:
    show('student_t_power', [t, df, delta], power(mpf(t), mpf(df), mpf(delta)))

for df in [1, 2, 3, 4, 7, 10, 31]:
    for x in ['0', '0.001', '0.5', '1', '3.84', '10.83', '50', '300', '1200']:
        show('chi_square_tail', [x, str(df)],
             gammainc(mpf(df) / 2, mpf(x) / 2, inf, regularized=True))
