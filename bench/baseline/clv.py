"""Models of repeat buying by scipy, as an analyst would write them in a notebook.

    clv.py fit FAMILY                           maximum likelihood
    clv.py ask bgnbd|mbgnbd R ALPHA A B T       P(alive), and purchases expected in T
    clv.py ask pareto_nbd R ALPHA S BETA T
    clv.py clv R ALPHA A B P Q V STEP STEPS DISCOUNT        of MBG/NBD and Gamma-Gamma

Customers come as CSV on stdin: frequency, recency, age, monetary. Prints the processor
milliseconds of the work, reading not among them, and what it found.
"""
import sys
import time

import numpy
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

x, t_x, T, m = numpy.genfromtxt(sys.stdin, delimiter=",", unpack=True)


def bgnbd(r, alpha, a, b, coins=0):
    alive = betaln(a, b + x + coins) - betaln(a, b) - (r + x) * numpy.log(alpha + T)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        dead = numpy.where(x + coins > 0, betaln(a + 1, b + x + coins - 1) - betaln(a, b)
                           - (r + x) * numpy.log(alpha + t_x), -numpy.inf)
    return gammaln(r + x) - gammaln(r) + r * numpy.log(alpha) + numpy.logaddexp(alive, dead)


def mbgnbd(r, alpha, a, b):
    return bgnbd(r, alpha, a, b, 1)


def death(r, alpha, s, beta, t):
    """ln of the integral over the time of death from t on: FHL 2005, appendix."""
    c = r + s + x
    high, low = max(alpha, beta), min(alpha, beta)
    second = s + 1 if alpha >= beta else r + x
    return numpy.log(hyp2f1(c, second, c + 1, (high - low) / (high + t))) - c * numpy.log(high + t)


def pareto_nbd(r, alpha, s, beta):
    alive = -(r + x) * numpy.log(alpha + T) - s * numpy.log(beta + T)
    from_last, from_end = death(r, alpha, s, beta, t_x), death(r, alpha, s, beta, T)
    with numpy.errstate(divide="ignore"):
        dead = numpy.log(s / (r + s + x)) + from_last + numpy.log1p(-numpy.exp(from_end - from_last))
    return (gammaln(r + x) - gammaln(r) + r * numpy.log(alpha) + s * numpy.log(beta)
            + numpy.logaddexp(alive, dead))


def gamma_gamma(p, q, v):
    n, z = x[x > 0], m[x > 0]
    return (gammaln(p * n + q) - gammaln(p * n) - gammaln(q) + q * numpy.log(v)
            + (p * n - 1) * numpy.log(z) + p * n * numpy.log(n) - (p * n + q) * numpy.log(v + n * z))


def fit(family):
    likelihood = globals()[family]
    n = 3 if family == "gamma_gamma" else 4

    def lack(log_parameters):
        return -likelihood(*numpy.exp(log_parameters)).mean()

    scale = m[x > 0].mean() if family == "gamma_gamma" else T.max() / 10
    start = numpy.log({"gamma_gamma": [2, 4, scale]}.get(family, [1, scale, 1, scale if family == "pareto_nbd" else 3]))
    found = minimize(lack, start[:n], method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-7, "maxfun": 20000})
    return likelihood(*numpy.exp(found.x)).sum()


def alive_and_expected(coins, r, alpha, a, b, t):
    b = b + coins
    with numpy.errstate(over="ignore", divide="ignore"):
        odds = numpy.where(x + coins > 0, a / (b + x - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x), 0)
    p_alive = 1 / (1 + odds)
    mean = (a + b + x - 1) / (a - 1) * (1 - ((alpha + T) / (alpha + T + t)) ** (r + x)
                                        * hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + T + t)))
    return p_alive, p_alive * mean


command, *arguments = sys.argv[1:]
if command == "fit":
    began = time.process_time()
    found = fit(arguments[0])
    print("cpu", 1000 * (time.process_time() - began))
    print("log_likelihood", repr(float(found)))
elif command == "ask":
    family, *p = arguments[0], *map(float, arguments[1:])
    began = time.process_time()
    if family == "pareto_nbd":
        r, alpha, s, beta, t = p
        p_alive = numpy.exp(gammaln(r + x) - gammaln(r) + r * numpy.log(alpha) + s * numpy.log(beta)
                            - (r + x) * numpy.log(alpha + T) - s * numpy.log(beta + T) - pareto_nbd(r, alpha, s, beta))
        expected = p_alive * (r + x) / (alpha + T) * (beta + T) / (s - 1) * (1 - ((beta + T) / (beta + T + t)) ** (s - 1))
    else:
        p_alive, expected = alive_and_expected(family == "mbgnbd", *p)
    print("cpu", 1000 * (time.process_time() - began))
    print("p_alive", repr(float(p_alive.sum())))
    print("expected", repr(float(expected.sum())))
else:
    r, alpha, a, b, p, q, v, step, steps, discount = map(float, arguments)
    began = time.process_time()
    spend = numpy.where(x > 0, p * (v + x * numpy.nan_to_num(m)) / (p * x + q - 1), p * v / (q - 1))
    value, before = 0, 0
    for i in range(1, int(steps) + 1):
        upto = alive_and_expected(True, r, alpha, a, b, i * step)[1]
        value = value + (upto - before) / (1 + discount) ** i
        before = upto
    value = value * spend
    print("cpu", 1000 * (time.process_time() - began))
    print("clv", repr(float(value.sum())))
