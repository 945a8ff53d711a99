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
    condition     = alltrue([for repository in aws_ecr_repository.image : !repository.force_delete])
    error_message = "Images are destroyed with everything else."
  }
  assert {
    condition     = local.environment.DB_SSLMODE == "require"
    error_message = "The tasks do not ask for TLS."
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
