#!/usr/bin/python3
"""Arbitrary-precision values of the customer models, for random parameters.

Needs python3-mpmath.  Prints oracle.sql, which is kept beside this file:

    test/models/oracle.py > test/models/oracle.sql

Every value comes from the formula as the papers print it (math.h lists them),
with mpmath's own special functions and quadrature in 60 digits: nothing is
shared with the C code, which uses other forms throughout.
"""
import random
import sys

from mpmath import (beta, betainc, binomial, exp, gamma, hyp2f1, hyperu, log, loggamma, mp, mpf,
                    nstr, quad)

mp.dps = 60


def lbeta(a, b):
    return loggamma(a) + loggamma(b) - loggamma(a + b)


class Bg:
    """BG/NBD (modified=0) and MBG/NBD (modified=1)."""

    def __init__(self, modified, r, alpha, a, b):
        self.m, self.r, self.alpha, self.a, self.b = modified, r, alpha, a, b

    def parts(self, x, tx, T):
        r, al, a, b, m = self.r, self.alpha, self.a, self.b, self.m
        front = exp(loggamma(r + x) - loggamma(r) + r * log(al))
        alive = front * exp(lbeta(a, b + x + m) - lbeta(a, b)) * (al + T) ** -(r + x)
        dead = mpf(0)
        if x > 0 or m:
            dead = front * exp(lbeta(a + 1, b + x + m - 1) - lbeta(a, b)) * (al + tx) ** -(r + x)
        return alive, dead

    def loglik(self, x, tx, T):
        return log(sum(self.parts(x, tx, T)))

    def p_alive(self, x, tx, T):
        alive, dead = self.parts(x, tx, T)
        return alive / (alive + dead)

    def expected(self, x, tx, T, t):
        r, al, a, b = self.r, self.alpha, self.a, self.b + self.m
        c = a + b + x - 1
        z = t / (al + T + t)
        mean = c / (a - 1) * (1 - ((al + T) / (al + T + t)) ** (r + x)
                              * hyp2f1(r + x, b + x, c, z))
        return mean * self.p_alive(x, tx, T)

    def expected_new(self, t):
        return self.expected(0, mpf(0), mpf(0), t)

    def survival(self, t):
        """All of the N coins up to t, N negative binomial, come out well."""
        r, al, a, b = self.r, self.alpha, self.a, self.b + self.m
        return beta(a, b) / beta(self.a, self.b) * (al / (al + t)) ** r * hyp2f1(r, b, a + b, t / (al + t))

    def mass(self, n, t):
        r, al, a, b, m = self.r, self.alpha, self.a, self.b, self.m
        z = t / (al + t)

        def nbd(j):
            return exp(loggamma(r + j) - loggamma(r) - loggamma(j + 1)) * (1 - z) ** r * z ** j

        p = exp(lbeta(a, b + n + m) - lbeta(a, b)) * nbd(n)
        if n + m > 0:
            tail = betainc(n, r, 0, z, regularized=True) if n > 0 else 1
            p += exp(lbeta(a + 1, b + n + m - 1) - lbeta(a, b)) * tail
        return p


class Pareto:
    def __init__(self, r, alpha, s, beta_):
        self.r, self.alpha, self.s, self.beta = r, alpha, s, beta_

    def a0(self, x, tx, T):
        """The integral in the likelihood as a difference of two 2F1, FHLb (A1), (A2)."""
        r, al, s, be = self.r, self.alpha, self.s, self.beta

        def term(t):
            if al >= be:
                return hyp2f1(r + s + x, s + 1, r + s + x + 1, (al - be) / (al + t)) \
                    / (al + t) ** (r + s + x)
            return hyp2f1(r + s + x, r + x, r + s + x + 1, (be - al) / (be + t)) \
                / (be + t) ** (r + s + x)
        return (term(tx) - term(T)) / (r + s + x)

    def parts(self, x, tx, T):
        r, al, s, be = self.r, self.alpha, self.s, self.beta
        front = exp(loggamma(r + x) - loggamma(r) + r * log(al) + s * log(be))
        alive = front * (al + T) ** -(r + x) * (be + T) ** -s
        return alive, front * s * self.a0(x, tx, T)

    def loglik(self, x, tx, T):
        return log(sum(self.parts(x, tx, T)))

    def p_alive(self, x, tx, T):
        alive, dead = self.parts(x, tx, T)
        return alive / (alive + dead)

    def expected(self, x, tx, T, t):
        r, al, s, be = self.r, self.alpha, self.s, self.beta
        return self.p_alive(x, tx, T) * (r + x) / (al + T) * (be + T) / (s - 1) \
            * (1 - ((be + T) / (be + T + t)) ** (s - 1))

    def expected_new(self, t):
        return self.expected(0, mpf(0), mpf(0), t)

    def survival(self, t):
        return (self.beta / (self.beta + t)) ** self.s

    def mass(self, n, t):
        r, al, s, be = self.r, self.alpha, self.s, self.beta

        def nbd(u):
            return exp(loggamma(r + n) - loggamma(r) - loggamma(n + 1)) \
                * (al / (al + u)) ** r * (u / (al + u)) ** n

        def density(u):
            return nbd(u) * s * be ** s * (be + u) ** -(s + 1)

        # quad() stops at an absolute error, so the integrand is brought near 1
        points = [mpf(0)] + [t / 4 ** k for k in range(14, -1, -1)]
        unit = max(density(u) for u in points[1:])
        with mp.workdps(30):
            died = unit * quad(lambda u: density(u) / unit, points, method='gauss-legendre')
        return nbd(t) * (be / (be + t)) ** s + died

    def dert(self, x, tx, T, delta):
        r, al, s, be = self.r, self.alpha, self.s, self.beta
        lik = sum(self.parts(x, tx, T))
        return al ** r * be ** s * delta ** (s - 1) * gamma(r + x + 1) \
            * hyperu(s, s, delta * (be + T)) / (gamma(r) * (al + T) ** (r + x + 1) * lik)


class Bgbb:
    def __init__(self, alpha, beta_, gamma_, delta):
        self.al, self.be, self.ga, self.de = alpha, beta_, gamma_, delta

    def parts(self, x, tx, n):
        al, be, ga, de = self.al, self.be, self.ga, self.de
        d = beta(al, be) * beta(ga, de)
        alive = beta(al + x, be + n - x) * beta(ga, de + n) / d
        dead = sum(beta(al + x, be + tx - x + i) * beta(ga + 1, de + tx + i) for i in range(n - tx)) / d
        return alive, dead

    def loglik(self, x, tx, n):
        return log(sum(self.parts(x, tx, n)))

    def p_alive(self, x, tx, n):
        al, be, ga, de = self.al, self.be, self.ga, self.de
        return beta(al + x, be + n - x) * beta(ga, de + n + 1) / (beta(al, be) * beta(ga, de)) \
            / sum(self.parts(x, tx, n))

    def expected(self, x, tx, n, t):
        al, be, ga, de = self.al, self.be, self.ga, self.de
        lik = sum(self.parts(x, tx, n))
        return beta(al + x + 1, be + n - x) / beta(al, be) \
            * sum(beta(ga, de + n + i) for i in range(1, t + 1)) / beta(ga, de) / lik

    def expected_new(self, t):
        al, be, ga, de = self.al, self.be, self.ga, self.de
        # FHS (9)
        return al / (al + be) * de / (ga - 1) \
            * (1 - gamma(ga + de) / gamma(ga + de + t) * gamma(1 + de + t) / gamma(1 + de))

    def survival(self, n):
        return beta(self.ga, self.de + n) / beta(self.ga, self.de)

    def mass(self, x, n):
        al, be, ga, de = self.al, self.be, self.ga, self.de
        d = beta(al, be) * beta(ga, de)
        p = binomial(n, x) * beta(al + x, be + n - x) * beta(ga, de + n) / d
        return p + sum(binomial(i, x) * beta(al + x, be + i - x) * beta(ga + 1, de + i)
                       for i in range(x, n)) / d

    def dert(self, x, tx, n, d):
        al, be, ga, de = self.al, self.be, self.ga, self.de
        return beta(al + x + 1, be + n - x) / beta(al, be) * beta(ga, de + n + 1) \
            / (beta(ga, de) * (1 + d)) * hyp2f1(1, de + n + 1, ga + de + n + 1, 1 / (1 + d)) \
            / sum(self.parts(x, tx, n))


class Sbg:
    def __init__(self, alpha, beta_):
        self.al, self.be = alpha, beta_

    def survival(self, t):
        return beta(self.al, self.be + t) / beta(self.al, self.be)

    def loglik(self, x, tx, n):
        if x == n:
            return log(self.survival(x))
        return log(beta(self.al + 1, self.be + x) / beta(self.al, self.be))

    def expected(self, x, tx, n, t):
        if x < n:
            return mpf(0)
        return sum(self.survival(n + i) for i in range(1, t + 1)) / self.survival(n)

    def retention(self, t):
        return self.survival(t) / self.survival(t - 1)

    def dert(self, x, tx, n, d):
        if x < n:
            return mpf(0)
        k = x + 1
        al, be = self.al, self.be
        return (be + k - 1) / (al + be + k - 1) * hyp2f1(1, be + k, al + be + k, 1 / (1 + d))


class GammaGamma:
    def __init__(self, p, q, v):
        self.p, self.q, self.v = p, q, v

    def loglik(self, x, m):
        p, q, v = self.p, self.q, self.v
        return loggamma(p * x + q) - loggamma(p * x) - loggamma(q) + q * log(v) \
            + (p * x - 1) * log(m) + p * x * log(x) - (p * x + q) * log(v + m * x)

    def spend(self, x, m):
        p, q, v = self.p, self.q, self.v
        return p * (v + m * x) / (p * x + q - 1)


def main():
    rnd = random.Random(20240501)

    def pick(lo, hi):
        """Log-uniform, rounded so that text, double and mpf are the same number."""
        return float('%.6g' % (10 ** rnd.uniform(lo, hi)))

    def near_one():
        return rnd.choice([lambda: float('%.6g' % (1 + rnd.uniform(-1e-3, 1e-3))),
                           lambda: pick(-2, 1), lambda: pick(-1, .7), lambda: pick(-1, .7)])()

    rows = []

    def add(family, par, fn, args, value):
        par = '{' + ','.join('%r' % p for p in par) + '}'
        args = '{' + ','.join('%r' % float(a) for a in args) + '}'
        rows.append('\t'.join([family, par, fn, args, nstr(value, 17, min_fixed=0, max_fixed=0)]))

    def history():
        T = pick(-.5, 3)
        x = rnd.choice([0, 0, 1, 1, 2, 3, 5, 9, rnd.randint(10, 60), rnd.randint(60, 500)])
        if x == 0:
            return x, 0.0, T
        tx = rnd.choice([rnd.uniform(0, 1), rnd.uniform(.9, 1), 1 - 10 ** rnd.uniform(-6, -1)]) * T
        return x, max(float('%.9g' % min(tx, T)), 1e-9), T

    def exact(*values):
        return [mpf(v) for v in values]

    for draw in range(700):
        family = ('bgnbd', 'mbgnbd', 'pareto_nbd')[draw % 3]
        third, fourth = near_one(), pick(-1, 2)
        second = pick(-.5, 2.5)
        if family == 'pareto_nbd':
            third = near_one()
            fourth = rnd.choice([second, float('%.15g' % (second * (1 + 1e-9))), pick(-1, 3), pick(-1, 3)])
        par = (pick(-1.3, 1), second, third, fourth)
        model = Pareto(*exact(*par)) if family == 'pareto_nbd' \
            else Bg(int(family == 'mbgnbd'), *exact(*par))
        x, tx, T = history()
        t = pick(-1, 3.4)
        etx, eT, et = exact(tx, T, t)
        add(family, par, 'log_likelihood', (x, tx, T), model.loglik(x, etx, eT))
        add(family, par, 'p_alive', (x, tx, T), model.p_alive(x, etx, eT))
        add(family, par, 'expected_purchases', (x, tx, T, t), model.expected(x, etx, eT, et))
        add(family, par, 'expected_new', (t,), model.expected_new(et))
        add(family, par, 'survival', (t,), model.survival(et))
        n = rnd.choice([0, 1, 2, 5, 11, 30])
        add(family, par, 'probability', (n, t), model.mass(n, et))
        if family == 'pareto_nbd':
            d = pick(-5, 0)
            add(family, par, 'dert', (x, tx, T, d), model.dert(x, etx, eT, mpf(d)))

    for draw in range(150):
        par = (pick(-1, 2), pick(-1, 2), near_one(), pick(-1, 3))
        model = Bgbb(*exact(*par))
        n = rnd.randint(0, 60)
        x = rnd.randint(0, n)
        tx = 0 if x == 0 else rnd.randint(x, n)
        t = rnd.randint(1, 40)
        d = pick(-5, 0)
        k = rnd.randint(0, t)
        add('bgbb', par, 'log_likelihood', (x, tx, n), model.loglik(x, tx, n))
        add('bgbb', par, 'p_alive', (x, tx, n), model.p_alive(x, tx, n))
        add('bgbb', par, 'expected_purchases', (x, tx, n, t), model.expected(x, tx, n, t))
        add('bgbb', par, 'expected_new', (t,), model.expected_new(t))
        add('bgbb', par, 'survival', (t,), model.survival(t))
        add('bgbb', par, 'probability', (k, t), model.mass(k, t))
        add('bgbb', par, 'dert', (x, tx, n, d), model.dert(x, tx, n, mpf(d)))

    for draw in range(80):
        par = (pick(-2, 1), pick(-2, 2))
        model = Sbg(*exact(*par))
        n = rnd.randint(0, 50)
        x = rnd.choice([n, rnd.randint(0, n)])
        t = rnd.randint(1, 40)
        d = pick(-4, 0)
        add('sbg', par, 'log_likelihood', (x, x, n), model.loglik(x, x, n))
        add('sbg', par, 'expected_purchases', (x, x, n, t), model.expected(x, x, n, t))
        add('sbg', par, 'survival', (t,), model.survival(t))
        add('sbg', par, 'retention', (t,), model.retention(t))
        add('sbg', par, 'dert', (x, x, n, d), model.dert(x, x, n, mpf(d)))

    for draw in range(80):
        par = (pick(-1, 1.5), float('%.6g' % (1 + pick(-2, 1.2))), pick(-1, 3))
        model = GammaGamma(*exact(*par))
        x, m = rnd.choice([1, 2, 5, 40, 500]), pick(-2, 4)
        add('gamma_gamma', par, 'log_likelihood', (x, m), model.loglik(x, mpf(m)))
        add('gamma_gamma', par, 'expected_spend', (x, m), model.spend(x, mpf(m)))
        add('gamma_gamma', par, 'expected_spend', (0, 0), model.spend(0, mpf(0)))

    print('-- made by oracle.py; family, parameters, function, arguments, value')
    print('COPY oracle (family, parameters, fn, args, value) FROM stdin;')
    sys.stdout.write('\n'.join(rows) + '\n\\.\n')


if __name__ == '__main__':
    main()
