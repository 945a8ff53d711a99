# terraform test: assertions on plans. They change nothing, but ask AWS (moto in tests/deploy) for the account.

variables {
  region            = "eu-central-1"
  alarm_email       = "laboratory@example.org"
  github_repository = "example/impress"
  database_cidr     = "203.0.113.7/32"
  environment       = { DB_HOSTNAME = "db.example.org" }
}

run "an_existing_database_is_the_only_address_beside_the_services" {
  command = plan

  assert {
    condition     = aws_vpc_security_group_egress_rule.database.cidr_ipv4 == "203.0.113.7/32"
    error_message = "The tasks may call another address than the database's."
  }
  assert {
    condition     = length(aws_db_instance.this) == 0
    error_message = "A database is made although there is one."
  }
}

run "a_new_database_is_private_encrypted_backed_up_and_kept" {
  command = plan

  variables {
    create_database = true
    database_cidr   = null
    environment     = {}
  }

  assert {
    condition = alltrue([
      aws_db_instance.this[0].storage_encrypted,
      aws_db_instance.this[0].deletion_protection,
      !aws_db_instance.this[0].publicly_accessible,
      !aws_db_instance.this[0].skip_final_snapshot,
      aws_db_instance.this[0].backup_retention_period >= 7,
    ])
    error_message = "The database is open, in the clear, not backed up or easily destroyed."
  }
  assert {
    condition = [
      for part in aws_db_parameter_group.this[0].parameter : part.value if part.name == "rds.force_ssl"
    ] == ["1"]
    error_message = "The database talks without TLS."
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.image : repository.force_delete != true])
    error_message = "Images are destroyed with everything else."
  }
  assert {
    condition     = local.environment.DB_SSLMODE == "verify-full" && endswith(local.environment.DB_SSLROOTCERT, ".pem")
    error_message = "The tasks do not verify the server's certificate."
  }
  assert {
    condition     = aws_db_instance.this[0].allow_major_version_upgrade && aws_db_instance.this[0].apply_immediately
    error_message = "Another major version cannot be applied."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.database) == 1
    error_message = "More than the tasks may call the database."
  }
}

run "a_name_that_the_code_does_not_read_is_refused" {
  command = plan

  variables {
    environment = { DB_HOSTNAME = "db.example.org", DB_HOST = "db.example.org" }
  }

  expect_failures = [var.environment]
}

run "no_database_or_an_unreachable_one_is_refused" {
  command = plan

  variables {
    environment   = {}
    database_cidr = null
  }

  expect_failures = [var.environment, var.database_cidr]
}

run "an_existing_network_is_used_as_it_is" {
  command = plan

  variables {
    network = { vpc_id = "vpc-1", task_subnets = ["subnet-1", "subnet-2"] }
  }

  assert {
    condition     = length(aws_vpc.this) == 0 && aws_security_group.tasks.vpc_id == "vpc-1"
    error_message = "Another network is made."
  }
  assert {
    condition = alltrue([
      for start in aws_scheduler_schedule.this :
      !start.target[0].ecs_parameters[0].network_configuration[0].assign_public_ip
    ])
    error_message = "A private subnet's task asks for a public address."
  }
}

run "a_new_database_has_a_login_though_few_secrets_are_named" {
  command = plan

  variables {
    create_database = true
    database_cidr   = null
    environment     = {}
    secrets         = ["EMAIL_PASS"]
  }

  assert {
    condition     = toset(keys(aws_ssm_parameter.secret)) == toset(["DB_USERNAME", "DB_PASSWORD", "EMAIL_PASS"])
    error_message = "The tasks get no login to the database."
  }
  assert {
    condition     = output.secrets == ["/impress/EMAIL_PASS"]
    error_message = "The generated login would be asked for."
  }
}

run "tls_can_still_be_chosen" {
  command = plan

  variables {
    create_database = true
    database_cidr   = null
    environment     = { DB_SSLMODE = "require" }
  }

  assert {
    condition     = local.environment.DB_SSLMODE == "require" && local.environment.DB_SSLROOTCERT == ""
    error_message = "DB_SSLMODE of the user is not used."
  }
}

run "one_task_alone_can_be_named" {
  command = plan

  variables {
    schedules            = { monitor = "cron(30 5 ? * 2#1 *)" }
    sizes                = { predict = { cpu = 1024, memory = 3072 } }
    good_run_within_days = { monitor = 40 }
  }

  assert {
    condition     = local.schedules == { predict = "cron(0 6 ? * MON *)", monitor = "cron(30 5 ? * 2#1 *)" }
    error_message = "The other schedule is lost."
  }
  assert {
    condition     = local.sizes.predict.memory == 3072 && local.sizes.monitor.cpu == 512
    error_message = "The other size is lost."
  }
  assert {
    condition     = local.good_run_within_days == { predict = 8, monitor = 40 }
    error_message = "The other age is lost."
  }
}

run "mistakes_are_refused" {
  command = plan

  variables {
    name                 = "Impress"
    secrets              = ["DB_PASSWORT"]
    database             = { version = "16.4" }
    time_zone            = "Berlin"
    schedules            = { predict = "0 6 * * 1" }
    sizes                = { predict = { cpu = 256, memory = 4096 } }
    good_run_within_days = { predict = 0.5 }
    log_days             = 100
    environment          = { DB_HOSTNAME = "db.example.org", SMTP_PORT = "25" }
  }

  expect_failures = [
    var.name, var.secrets, var.database, var.time_zone, var.schedules, var.sizes, var.good_run_within_days,
    var.log_days, var.environment,
  ]
}

run "names_of_no_task_are_refused" {
  command = plan

  variables {
    schedules            = { predikt = "rate(7 days)" }
    sizes                = { report = { cpu = 256, memory = 1024 } }
    good_run_within_days = { predikt = 8 }
  }

  expect_failures = [var.schedules, var.sizes, var.good_run_within_days]
}

run "a_schedule_with_day_and_weekday_and_a_database_without_subnets_are_refused" {
  command = plan

  variables {
    create_database = true
    database_cidr   = null
    environment     = {}
    network         = { vpc_id = "vpc-1", task_subnets = ["subnet-1", "subnet-2"] }
    schedules       = { predict = "cron(0 6 * * MON *)" }
  }

  expect_failures = [var.network, var.schedules]
}

run "pages_with_two_places_are_refused" {
  command = plan

  variables {
    environment = { DB_HOSTNAME = "db.example.org", PAGE_TARGET = "s3://site" }
    pages       = true
  }

  expect_failures = [var.environment]
}
