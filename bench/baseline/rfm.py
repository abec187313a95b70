"""RFM summaries by pandas: customer, seconds since 1970 and amount as CSV on stdin.

Prints the processor milliseconds of reading and summing up, and sums to compare.
Days are UTC's, and the observation ends at the beginning of 2024.
"""
import sys
import time

import pandas

END = 1704067200 // 86400

began = time.process_time()
purchases = pandas.read_csv(sys.stdin, names=["customer", "at", "amount"])
purchases["day"] = (purchases["at"] // 86400).astype("int64")
days = purchases.groupby(["customer", "day"], sort=True)["amount"].sum().reset_index()
repeats = days[days["customer"].duplicated()]
customers = days.groupby("customer")["day"].agg(["count", "min", "max"])
summary = pandas.DataFrame({
    "frequency": customers["count"] - 1,
    "recency": customers["max"] - customers["min"],
    "age": END - customers["min"],
    "monetary": repeats.groupby("customer")["amount"].mean(),
})
print("cpu", 1000 * (time.process_time() - began))

for column in summary:
    print(column, repr(float(summary[column].sum())))
