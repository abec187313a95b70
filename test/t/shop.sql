-- A shop with something in every table of the extension, for the tests of dumps.
CREATE SCHEMA shop;
CREATE TABLE shop.orders (
	order_no text PRIMARY KEY,
	customer_id text,
	ordered_at timestamptz NOT NULL,
	total numeric(12,2) NOT NULL,
	refunded numeric(12,2) NOT NULL DEFAULT 0,
	status text NOT NULL DEFAULT 'paid'
);
INSERT INTO shop.orders VALUES
	('A-1', 'ann', '2024-01-10 09:00+00', 100.00, 0, 'paid'),
	('A-2', 'bob', '2024-01-11 10:00+00', 49.99, 9.99, 'paid'),
	('A-3', NULL, '2024-02-29 11:00+00', 12.50, 0, 'paid');
