-- How the tables of version 1 lie on disk, once, at creation.
-- Year and month together: day() alone is the day of the month, and a commit over N partitions writes N files.
ALTER TABLE lake.spans SET PARTITIONED BY (year(start_time), month(start_time));
ALTER TABLE lake.log_records SET PARTITIONED BY (year(time), month(time));
ALTER TABLE lake.metric_points SET PARTITIONED BY (year(time), month(time));
ALTER TABLE lake.contents SET PARTITIONED BY (year(start_time), month(start_time));
ALTER TABLE lake.calls SET PARTITIONED BY (year(start_time), month(start_time));
