# A separate PostgreSQL (create_database), reachable only by the tasks.
locals {
  database = var.create_database ? 1 : 0
  # Login parameters and database are written in the same apply, also where the parameters were there before
  # the database: those have version 1.
  login         = toset(var.create_database ? ["DB_USERNAME", "DB_PASSWORD"] : [])
  login_version = 1000 + var.database.password_version + local.key_version
}

# Generated at each apply and not stored: the valid one is what password_version last wrote.
ephemeral "aws_secretsmanager_random_password" "database" {
  count               = local.database
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_subnet" "database" {
  count             = 2 * local.own * local.database
  vpc_id            = aws_vpc.this[0].id
  cidr_block        = cidrsubnet(aws_vpc.this[0].cidr_block, 3, 2 + count.index)
  availability_zone = data.aws_availability_zones.this.names[count.index]
  tags              = { Name = "${var.name}-database" }
}

resource "aws_db_subnet_group" "this" {
  count      = local.database
  name       = var.name
  subnet_ids = var.network == null ? aws_subnet.database[*].id : var.network.database_subnets
}

resource "aws_security_group" "database" {
  count       = local.database
  name        = "${var.name}-database"
  description = "the tasks and nobody else"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count                        = local.database
  security_group_id            = aws_security_group.database[0].id
  description                  = "the tasks"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.tasks.id
}

resource "aws_db_parameter_group" "this" {
  count  = local.database
  name   = "${var.name}-postgres${var.database.version}"
  family = "postgres${var.database.version}"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  lifecycle {
    # A group in use cannot be deleted: a new major version gets its group first.
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  count                     = local.database
  identifier                = var.name
  engine                    = "postgres"
  engine_version            = var.database.version
  instance_class            = var.database.class
  allocated_storage         = var.database.storage
  storage_type              = "gp3"
  storage_encrypted         = true
  db_name                   = "impress"
  username                  = "impress"
  password_wo               = ephemeral.aws_secretsmanager_random_password.database[0].random_password
  password_wo_version       = local.login_version
  port                      = local.port
  db_subnet_group_name      = aws_db_subnet_group.this[0].name
  vpc_security_group_ids    = [aws_security_group.database[0].id]
  parameter_group_name      = aws_db_parameter_group.this[0].name
  publicly_accessible       = false
  backup_retention_period   = var.database.backup_days
  copy_tags_to_snapshot     = true
  deletion_protection       = true
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-last"

  # `terraform apply` upgrades to another major version at once: in the next maintenance window it would still
  # use the parameter group that is deleted now. The database is away for minutes.
  allow_major_version_upgrade = true
  apply_immediately           = true

  lifecycle {
    prevent_destroy = true
  }
}
