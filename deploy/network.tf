locals {
  own          = var.network == null ? 1 : 0
  vpc_id       = var.network == null ? aws_vpc.this[0].id : var.network.vpc_id
  task_subnets = var.network == null ? aws_subnet.tasks[*].id : var.network.task_subnets
  # A NAT gateway costs more than everything else here, and a public address alone lets nobody in.
  public = var.network == null ? true : var.network.public
  port   = tonumber(coalesce(lookup(var.environment, "DB_PORT", null), "5432"))
  # Everything that the tasks call besides the database; ECR, SSM and logs use HTTPS too.
  open_ports = toset(["443", coalesce(lookup(var.environment, "SMTP_PORT", null), "587")])
}

data "aws_availability_zones" "this" {
  state = "available"

  # Local zones, which an account may have opted in to, have no Fargate.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

resource "aws_vpc" "this" {
  count                = local.own
  cidr_block           = "10.20.0.0/24"
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_default_security_group" "shut" {
  count  = local.own
  vpc_id = aws_vpc.this[0].id
}

resource "aws_subnet" "tasks" {
  count             = 2 * local.own
  vpc_id            = aws_vpc.this[0].id
  cidr_block        = cidrsubnet(aws_vpc.this[0].cidr_block, 3, count.index)
  availability_zone = data.aws_availability_zones.this.names[count.index]
  tags              = { Name = "${var.name}-tasks" }
}

resource "aws_internet_gateway" "this" {
  count  = local.own
  vpc_id = aws_vpc.this[0].id
}

resource "aws_route_table" "tasks" {
  count  = local.own
  vpc_id = aws_vpc.this[0].id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this[0].id
  }
}

resource "aws_route_table_association" "tasks" {
  count          = 2 * local.own
  subnet_id      = aws_subnet.tasks[count.index].id
  route_table_id = aws_route_table.tasks[0].id
}

# No inbound rules.
resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "the tasks call out, nothing calls them"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "services" {
  for_each          = local.open_ports
  security_group_id = aws_security_group.tasks.id
  description       = "AWS, model registry, mail"
  ip_protocol       = "tcp"
  from_port         = each.key
  to_port           = each.key
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "database"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  cidr_ipv4                    = var.create_database ? null : var.database_cidr
  referenced_security_group_id = var.create_database ? aws_security_group.database[0].id : null
}
