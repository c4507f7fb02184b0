DROP TABLE postings;
DROP TABLE deals;
DROP TABLE balances;
