#!/usr/bin/python3
"""A made-up cohort, and the models fitted to it by scipy.

Needs python3-numpy and python3-scipy.  Prints cohort.sql, which is kept beside
this file:

    test/models/cohort.py > test/models/cohort.sql

1,500 customers whose first purchase is 120 to 300 days old buy at a rate that
is Gamma(0.8, 40) per day, live for an exponential time with a rate that is
Gamma(0.7, 60), and spend amounts that are Gamma(6, nu), nu Gamma(4, 16): a
Pareto/NBD and Gamma-Gamma cohort, watched in whole days.  Two purchases on one
day are one.

The likelihoods below are the papers', with scipy's gamma and hypergeometric
functions; the maximum is found by Nelder-Mead, polished by Newton's method on
differences.  Nothing is shared with the C code.
"""
import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

SEED = 20240502


def simulate():
    rng = np.random.default_rng(SEED)
    rows = []
    for _ in range(1500):
        T = int(rng.integers(120, 301))
        rate = rng.gamma(0.8, 1 / 40)
        life = rng.exponential(1 / rng.gamma(0.7, 1 / 60))
        nu = rng.gamma(4, 1 / 16)
        days = {}
        t = 0.0
        while True:
            t += rng.exponential(1 / rate)
            if t > min(life, T):
                break
            day = int(np.ceil(t))
            days[day] = days.get(day, 0) + rng.gamma(6) / nu
        x = len(days)
        rows.append((x, max(days) if x else 0, T, round(sum(days.values()) / x, 2) if x else None))
    return rows


def bgnbd(par, x, tx, T, m=0):
    r, alpha, a, b = par
    front = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x + m) - betaln(a, b) - (r + x) * np.log(alpha + T)
    dead = betaln(a + 1, np.maximum(b + x + m - 1, 1e-300)) - betaln(a, b) - (r + x) * np.log(alpha + tx)
    return front + np.where(x + m > 0, np.logaddexp(alive, dead), alive)


def mbgnbd(par, x, tx, T):
    return bgnbd(par, x, tx, T, 1)


def pareto_nbd(par, x, tx, T):
    r, alpha, s, beta = par
    front = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    hi = max(alpha, beta)
    second = s + 1 if alpha >= beta else r + x

    def term(t):
        return np.log(hyp2f1(r + s + x, second, r + s + x + 1, abs(alpha - beta) / (hi + t))) \
            - (r + s + x) * np.log(hi + t)
    first, last = term(tx), term(T)
    with np.errstate(divide="ignore"):
        a0 = first + np.log1p(-np.exp(last - first)) - np.log(r + s + x)
    alive = -(r + x) * np.log(alpha + T) - s * np.log(beta + T)
    return front + np.logaddexp(alive, np.log(s) + np.where(tx < T, a0, -np.inf))


def gamma_gamma(par, x, m):
    p, q, v = par
    return gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v) \
        + (p * x - 1) * np.log(m) + p * x * np.log(x) - (p * x + q) * np.log(v + m * x)


def fit(model, start, data):
    def loss(theta):
        return -np.sum(model(np.exp(theta), *data))

    theta = np.log(start)
    for _ in range(6):
        theta = minimize(loss, theta, method='Nelder-Mead',
                         options=dict(maxiter=20000, maxfev=20000, xatol=1e-9, fatol=1e-9)).x
    n = len(theta)
    step = 2e-4

    def shifted(*moves):
        point = theta.copy()
        for i, d in moves:
            point[i] += d * step
        return loss(point)
    for _ in range(3):
        gradient = np.array([(8 * (shifted((i, 1)) - shifted((i, -1)))
                              - (shifted((i, 2)) - shifted((i, -2)))) / (12 * step) for i in range(n)])
        curvature = np.array([[(shifted((i, 1), (j, 1)) - shifted((i, 1), (j, -1))
                                - shifted((i, -1), (j, 1)) + shifted((i, -1), (j, -1))) / (4 * step ** 2)
                               for j in range(n)] for i in range(n)])
        theta = theta - np.linalg.solve(curvature, gradient)
    error = np.exp(theta) * np.sqrt(np.diag(np.linalg.inv(curvature)))
    return np.exp(theta), error, -loss(theta)


def main():
    rows = simulate()
    x = np.array([r[0] for r in rows], float)
    tx = np.array([r[1] for r in rows], float)
    T = np.array([r[2] for r in rows], float)
    m = np.array([r[3] or 0 for r in rows], float)
    print('-- made by cohort.py: frequency, recency, age (days), monetary')
    print('COPY cohort (x, t_x, age, m) FROM stdin;')
    for r in rows:
        print('\t'.join('\\N' if v is None else str(v) for v in r))
    print('\\.')
    print('-- and what scipy fits: family, log-likelihood, parameters, standard errors')
    print('COPY cohort_fit (family, log_likelihood, parameters, standard_errors) FROM stdin;')
    for model, start, data in ((bgnbd, (.5, 30, .8, 2.5), (x, tx, T)),
                               (mbgnbd, (.5, 30, .8, 1.5), (x, tx, T)),
                               (pareto_nbd, (.8, 40, .7, 60), (x, tx, T)),
                               (gamma_gamma, (6, 4, 16), (x[x > 0], m[x > 0]))):
        par, error, value = fit(model, start, data)
        names = dict(bgnbd='r alpha a b', mbgnbd='r alpha a b', pareto_nbd='r alpha s beta',
                     gamma_gamma='p q v')[model.__name__].split()
        print('\t'.join([model.__name__, '%.6f' % value] +
                        ['{' + ', '.join('"%s": %.7g' % nv for nv in zip(names, v)) + '}'
                         for v in (par, error)]))
    print('\\.')


if __name__ == '__main__':
    main()
