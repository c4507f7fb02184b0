DROP INDEX entities_gone_by_age;
DROP INDEX deals_by_age;
DROP TABLE carried;
